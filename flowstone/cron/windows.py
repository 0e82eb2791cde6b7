"""The windows of local time in which ticks count: a zone's segments after the rules of gap and fold.

Debian's cron(8): when local time is set forward by up to three hours, fixed jobs of the skipped time run right
after the change; when it is set back by up to three hours, they are not run again; a larger change is a correction
of the calendar, without either. Wildcard jobs (a minute or hour that begins with `*`) follow the clock on the wall.

With that said once here, a tick is the first match in a window, and searching knows no special cases.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from flowstone.zones import FIRST_INSTANT, LAST_INSTANT, Segment, segments

__all__ = ["FOLDS", "GAPS", "Timeline", "Window", "timeline"]

FOLDS = ("first", "last", "both")
GAPS = ("shift", "skip")
CORRECTION = 3 * 3600
"""A change by more than these seconds corrects the calendar: no shift, no protection from repeats."""


class Window(NamedTuple):
    """Local times from `start` to `end` (excluded) that count, `offset` seconds east of UTC.

    Matches from `search` up to `start` are those of the gap before: they fire together at `start`.
    """

    search: int
    start: int
    end: int
    offset: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All windows of a zone up to the instant `end` (excluded), and the instants at which their segments begin."""

    begins: tuple[int, ...]
    windows: tuple[Window, ...]
    end: int


@lru_cache(maxsize=None)
def timeline(zone: str, until: int, gap: str, fold: str) -> Timeline:
    """Return the windows of a zone from the first instant to the end of year `until`.

    Raises:
        CronError: the zone is unknown.
    """
    parts = segments(zone, until)
    changes = [0, *(after.offset - before.offset for before, after in pairwise(parts)), 0]
    around = zip(parts, changes[:-1], changes[1:], strict=True)
    windows = tuple(_window(part, before, after, gap, fold) for part, before, after in around)
    return Timeline(tuple(part.start for part in parts), windows, parts[-1].end)


def _window(part: Segment, before: int, after: int, gap: str, fold: str) -> Window:
    start, end = part.start + part.offset, part.end + part.offset
    search = start
    if gap == "shift" and 0 < before <= CORRECTION:
        search = start - before
    if fold == "first" and -CORRECTION <= before < 0:
        search = start = start - before
    if fold == "last" and -CORRECTION <= after < 0:
        end += after
    # Local times outside the years 1 to 9999 have no date.
    return Window(max(search, FIRST_INSTANT), max(start, FIRST_INSTANT), min(end, LAST_INSTANT + 1), part.offset)
