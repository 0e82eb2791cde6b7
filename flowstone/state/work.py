"""The count of work in flight, as the store needs it."""

from typing import Protocol

__all__ = ["NO_WORK", "Token", "Work"]


class Token(Protocol):
    """One piece of work that has begun."""

    def end(self) -> None:
        """The work has ended; harmless when repeated."""


class Work(Protocol):
    """Counts work in flight; `actors.System.work` is one."""

    def begin(self, what: str) -> Token:
        """A piece of work begins; from any thread."""


class _Uncounted:
    """Counts nothing, for stores without a runtime."""

    def begin(self, what: str) -> "_Uncounted":
        """Begin; returns a token that does nothing."""
        return self

    def end(self) -> None:
        """Nothing to end."""


NO_WORK: Work = _Uncounted()
"""For stores that no runtime waits on."""
