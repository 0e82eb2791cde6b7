"""Faults on purpose, and a tell that waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.actor import Actor
from actors.messages import Crash, Inspect
from actors.ref import ActorRef

__all__ = ["cast_and_sync", "crash", "delay_next", "drop_next", "failing_init"]

TIMEOUT = 5.0


def _any(message: Any) -> bool:
    return True


def cast_and_sync(ref: ActorRef, message: Any, *, timeout: float = TIMEOUT) -> Any:
    """Send `message`, wait until the actor has handled it and answered (perhaps later), and return the answer."""
    return ref.ask(message, timeout=timeout)


def crash(ref: ActorRef, reason: BaseException | None = None, *, timeout: float = TIMEOUT) -> None:
    """Crash the actor, ahead of its mailbox, and return when it has ended and its supervisor has dealt with that.

    With a restart at once, the successor runs when this returns.
    """
    cell = ref.cell
    if cell is None or cell.dead:
        raise AssertionError(f"expected a living actor to crash, got: {ref!r}")
    ended = cell.ended()
    cell.send(Crash(reason if reason is not None else RuntimeError("crashed by a test")))
    if not ended.settled(timeout):
        raise AssertionError(f"{ref} did not crash within {timeout:g} s")
    if cell.parent is not None and not cell.parent.dead:
        # The child's end reached the supervisor before it reached us, so the supervisor's answer comes after it has
        # acted.
        try:
            cell.parent.ref.describe(timeout=timeout)
        except Exception:
            # It gave up over this very crash.
            return


def drop_next(ref: ActorRef, count: int = 1, *, fits: Callable[[Any], bool] = _any) -> None:
    """Lose the next `count` messages that fit: they never reach `receive`, and an ask among them is never answered."""
    _intercept(ref, count, fits, lambda actor, message: actor.defer())


def delay_next(ref: ActorRef, seconds: float, count: int = 1, *, fits: Callable[[Any], bool] = _any) -> None:
    """Let the next `count` messages that fit come `seconds` of the system's clock later; an ask is answered then."""

    def later(actor: Actor, message: Any) -> None:
        answer = actor.defer()

        def deliver() -> None:
            asked = ref.ask(message, block=False)
            if not asked.on_done(lambda: answer.offer(asked.value, asked.exception())):
                answer.offer(asked.value, asked.exception())

        actor.clock.call_after(seconds, deliver)

    _intercept(ref, count, fits, later)


def failing_init(cls: type[Actor], times: int, error: BaseException | None = None) -> type[Actor]:
    """Return a subclass of `cls` whose `init` fails the next `times` times, over all its incarnations.

    >>> class Quiet(Actor):
    ...     pass
    >>> failing_init(Quiet, 2).__name__
    'Quiet'
    """
    left = times

    class Failing(cls):  # type: ignore[valid-type,misc]  # a base class that is only known when this runs
        def init(self, *args: Any, **kwargs: Any) -> None:
            nonlocal left
            if left > 0:
                left -= 1
                raise error if error is not None else RuntimeError(f"init fails on purpose, {left} more times")
            super().init(*args, **kwargs)

    Failing.__name__ = Failing.__qualname__ = cls.__name__
    return Failing


def _intercept(ref: ActorRef, count: int, fits: Callable[[Any], bool], instead: Callable[[Actor, Any], object]) -> None:
    def install(actor: Actor) -> None:
        receive = actor.receive
        left = count

        def intercepting(message: Any) -> Any:
            nonlocal left
            if left <= 0 or not fits(message):
                return receive(message)
            left -= 1
            instead(actor, message)
            return None

        actor.receive = intercepting  # type: ignore[method-assign]  # on this one actor, until its end

    ref.ask(Inspect(install), timeout=TIMEOUT)
