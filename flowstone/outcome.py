"""What became of a call: a value, an error, or nothing within its timeout."""

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from flowstone.errors import TimeoutExceeded

__all__ = ["Outcome"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """One call's outcome; `duration` is in seconds.

    >>> Outcome(value=3).unwrap()
    3
    """

    value: T | None = None
    error: BaseException | None = None
    timed_out: bool = False
    duration: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the call returned."""
        return self.error is None and not self.timed_out

    def unwrap(self) -> T:
        """The value of the call.

        Raises:
            TimeoutExceeded: the call outlasted its timeout.
            BaseException: whatever the call raised.
        """
        if self.error is not None:
            raise self.error
        if self.timed_out:
            message = f"the call was given up after {self.duration:.3g} s, its timeout"
            raise TimeoutExceeded(message, duration=self.duration)
        return cast(T, self.value)
