"""Restart intensity: how many restarts within how many seconds are too many.

As in OTP: more than `max_restarts` within `max_seconds` and the supervisor gives up; the edges of the period belong
to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.spec import not_negative, positive

__all__ = ["Intensity"]


@dataclass(frozen=True, slots=True)
class Intensity:
    """A restart budget and what has been spent of it: `history` holds the monotonic seconds of restarts still counted.

    >>> Intensity(1, 5.0).spend(0.0).spend(3.0).exceeded, Intensity(1, 5.0).spend(0.0).spend(6.0).exceeded
    (True, False)
    """

    max_restarts: int = 3
    max_seconds: float = 5.0
    history: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        not_negative("max_restarts", self.max_restarts)
        positive("max_seconds", self.max_seconds)

    def spend(self, now: float) -> Intensity:
        """Return the budget with one more restart at `now` (monotonic seconds)."""
        counted = tuple(at for at in self.history if now - at <= self.max_seconds)
        return Intensity(self.max_restarts, self.max_seconds, (*counted, now))

    @property
    def exceeded(self) -> bool:
        """Tell whether the restarts counted are more than allowed."""
        return len(self.history) > self.max_restarts
