"""A call of user code: what is to be run, since when it runs, and whom to tell."""

import asyncio
import contextvars
import inspect
import logging
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from actors.backends.work import Token
from actors.clock import TimerHandle
from flowstone.outcome import Outcome

__all__ = ["Call", "awaited", "outcome_of"]

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Call:
    """A call that an executor has accepted; `since` is when it was accepted, and from its start on, when it began.

    `settled` is set once, under the executor's lock, by whoever then tells the outcome.
    """

    name: str
    since: datetime
    fn: Callable[..., Any] = field(repr=False)
    args: tuple[Any, ...] = field(repr=False)
    timeout: float | None = field(repr=False)
    then: Callable[[Outcome[Any]], None] = field(repr=False)
    ended: Callable[[], None] | None = field(repr=False)
    token: Token = field(repr=False)
    settled: bool = field(default=False, repr=False)
    timer: TimerHandle | None = field(default=None, repr=False)

    def tell(self, outcome: Outcome[Any]) -> None:
        """Report the outcome; what `then` raises stays here."""
        if self.timer is not None:
            self.timer.cancel()
        try:
            self.then(outcome)
        except BaseException:  # noqa: B036 - the thread belongs to all calls
            log.exception("whoever waited for %s failed on its outcome", self.name)
        finally:
            self.token.end()

    def end(self) -> None:
        """Report that the function has come back; what `ended` raises stays here."""
        if self.ended is None:
            return
        try:
            self.ended()
        except BaseException:  # noqa: B036 - the thread belongs to all calls
            log.exception("whoever waited for the end of %s failed", self.name)


def awaited(value: Any, on_cancel: Callable[[Callable[[], None] | None], None] | None = None) -> Any:
    """What a function gave; a coroutine is run to its end on this thread.

    While it runs, `on_cancel` has what cancels it, from any thread.
    """
    if not inspect.iscoroutine(value):
        return value
    return asyncio.run(value if on_cancel is None else _cancellable(value, on_cancel))


async def _cancellable(
    coroutine: Coroutine[Any, Any, Any], on_cancel: Callable[[Callable[[], None] | None], None]
) -> Any:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(coroutine)

    def cancel() -> None:
        # It may have ended meanwhile, and its loop with it.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)

    on_cancel(cancel)
    try:
        return await task
    finally:
        on_cancel(None)


def outcome_of(call: Call) -> Outcome[Any]:
    """What the user's function gives or raises; a coroutine is run to its end on this thread.

    Whatever comes out of user code is an outcome: SystemExit, KeyboardInterrupt and a killed greenlet's exit too.
    A call begins with no context variables set, whatever ran on its thread before. A process that the function has
    forked ends here: the outcome is its parent's.
    """
    process = os.getpid()
    try:
        outcome = Outcome(value=contextvars.Context().run(lambda: awaited(call.fn(*call.args))))
    except BaseException as error:  # noqa: B036 - see above
        outcome = Outcome(error=error)
    if os.getpid() != process:
        os._exit(int(not outcome.ok))
    return outcome
