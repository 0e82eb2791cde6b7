"""A call of user code: what is to be run, since when it runs, and whom to tell."""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable
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


def awaited(value: Any) -> Any:
    """What a function gave; a coroutine is run to its end on this thread."""
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def outcome_of(call: Call) -> Outcome[Any]:
    """What the user's function gives or raises; a coroutine is run to its end on this thread.

    Whatever comes out of user code is an outcome: SystemExit, KeyboardInterrupt and a killed greenlet's exit too.
    A call begins with no context variables set, whatever ran on its thread before.
    """
    try:
        return Outcome(value=contextvars.Context().run(lambda: awaited(call.fn(*call.args))))
    except BaseException as error:  # noqa: B036 - see above
        return Outcome(error=error)
