"""Faults on purpose, and a tell that waits."""
from __future__ import annotations

from typing import Any

from actors.messages import Crash
from actors.ref import ActorRef

__all__ = ["cast_and_sync", "crash"]

TIMEOUT = 5.0


def cast_and_sync(ref: ActorRef, message: Any, *, timeout: float = TIMEOUT) -> Any:
    """Send `message`, wait until the actor has handled it (and answered, when it answers later), and return its answer."""
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
        # The child's end reached the supervisor before it reached us, so the supervisor's answer comes after it has acted.
        try:
            cell.parent.ref.describe(timeout=timeout)
        except Exception:
            # It gave up over this very crash.
            return
