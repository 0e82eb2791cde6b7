"""What schedules ask of cron expressions and intervals alike, and how instants come in and go out."""

from datetime import UTC, datetime
from typing import Protocol

from flowstone.errors import CronError, shown

__all__ = ["Timing", "at", "before", "floor", "nothing"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_from_timestamp = datetime.fromtimestamp


class Timing(Protocol):
    """An endless, strictly increasing sequence of instants; any aware datetime in, aware UTC datetimes out."""

    def next_after(self, instant: datetime) -> datetime:
        """Return the first instant strictly after this one.

        Raises:
            CronError: the instant is naive, or nothing matches before the year 10000.
        """

    def previous_before(self, instant: datetime) -> datetime:
        """Return the last instant strictly before this one.

        Raises:
            CronError: the instant is naive, or nothing matches since the year 1.
        """

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """Return all instants after `start` up to and including `end`, in order; none when `end` is not later.

        Raises:
            CronError: an instant is naive.
        """


def floor(instant: datetime) -> int:
    """Return the last whole second since the epoch that is not after an aware datetime.

    Raises:
        CronError: it is naive, or no datetime.
    """
    try:
        since = instant - EPOCH
        return since.days * 86_400 + since.seconds
    except (TypeError, AttributeError):
        raise CronError(f"expected an aware datetime, got: {shown(instant)}", instant=shown(instant)) from None


def before(instant: datetime) -> int:
    """Return the last whole second since the epoch that is strictly before an aware datetime.

    Raises:
        CronError: it is naive, or no datetime.
    """
    return floor(instant) - (not instant.microsecond)


def at(second: int) -> datetime:
    """Return a second since the epoch as an aware UTC datetime."""
    # 0.30 µs; `EPOCH + timedelta(0, second)` takes 0.48 µs.
    return _from_timestamp(second, UTC)


def nothing(timing: object, where: str, instant: datetime) -> CronError:
    """Return the error for the ends of time, the years 1 and 9999: nothing matches `where` ("after", "before")."""
    return CronError(
        f"{timing} has no instant {where} {shown(str(instant))} within the years 1 to 9999",
        timing=str(timing),
        instant=str(instant),
    )
