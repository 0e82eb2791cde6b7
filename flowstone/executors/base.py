"""What every executor offers."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from flowstone.outcome import Outcome

__all__ = ["Executor", "RunningCall"]


class RunningCall(Protocol):
    """A call that an executor has accepted."""

    name: str
    since: datetime


class Executor(Protocol):
    """Runs user code and reports each outcome once."""

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        timeout: float | None,
        name: str,
        then: Callable[[Outcome[Any]], None],
        ended: Callable[[], None] | None = None,
    ) -> RunningCall:
        """Accept a call; never blocks. `then` and `ended` are called on a thread of the executor's or the clock's.

        `then` is called once: with what `fn` gave or raised, or `timed_out` after `timeout` seconds of running.
        `ended` is called once, when `fn` has really come back, after `then`.

        Raises:
            RuntimeStopped: the executor has been stopped.
        """

    def abandoned(self) -> list[RunningCall]:
        """The calls that outlasted their timeout and still go on, oldest first."""

    def stop(self, timeout: float) -> None:
        """Refuse new calls and wait up to `timeout` real seconds for those that run; harmless when repeated."""
