"""The only reader of zone data: time zones, their version, and their segments of constant offset.

Zone data comes from one source, the `tzdata` package, whatever the system has: two machines with the same
package compute the same instants, and `tzdata_version` says which package that is. `zoneinfo.ZoneInfo(name)`
would prefer the system's files.

A segment is a span of instants through which a zone keeps one offset. Instants here are whole seconds since
the epoch, offsets whole seconds east of UTC.
"""

import struct
from bisect import bisect_right
from calendar import isleap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from operator import attrgetter
from pkgutil import get_data
from zoneinfo import ZoneInfo

from flowstone.errors import CronError, did_you_mean, shown

__all__ = [
    "FIRST_INSTANT",
    "LAST_INSTANT",
    "Segment",
    "first_instant",
    "segment_at",
    "segments",
    "tzdata_version",
    "zone",
]

EPOCH_DAY = date(1970, 1, 1).toordinal()
DAY = 86_400
WEEK = 7 * DAY

FIRST_INSTANT = (date.min.toordinal() - EPOCH_DAY) * DAY
"""0001-01-01T00:00:00Z, the first whole second that a datetime can name."""
LAST_INSTANT = (date.max.toordinal() - EPOCH_DAY + 1) * DAY - 1
"""9999-12-31T23:59:59Z, the last one."""

TABLED_YEAR = 2100  # one table of a zone serves all instants that are met in practice

_zones: dict[str, ZoneInfo] = {}


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of instants, `start` included and `end` excluded, through which a zone's offset is `offset`."""

    start: int
    end: int
    offset: int


def tzdata_version() -> str:
    """Return the version of the `tzdata` package that all zones are read from, as `2026.6`."""
    return str(import_module("tzdata").__version__)


def zone(name: str) -> ZoneInfo:
    """Return the time zone of this IANA name, always the same object for the same name.

    It is read from the `tzdata` package, so it can't be pickled: keep the name, and ask again.

    >>> zone("America/New_York").key
    'America/New_York'

    Raises:
        CronError: the name is not a str, or `tzdata` has no zone of that name.
    """
    if not isinstance(name, str):
        raise _refused(name, f"expected the name of a time zone as a str, got {type(name).__name__}")
    found = _zones.get(name)
    if found is None:
        loaded = ZoneInfo.from_file(BytesIO(_data(name)), key=name)
        # Two threads may load one zone at once: all of them must get the same object.
        found = _zones.setdefault(name, loaded)
    return found


@lru_cache(maxsize=None)
def _names() -> frozenset[str]:
    return frozenset(_resource("zones").decode().split())


def _data(name: str) -> bytes:
    # The list of names decides, not the file system: `ZoneInfo` and its loader raise ten different errors for
    # absolute and climbing paths, folders, NUL, long names and files that are no zone.
    if name not in _names():
        hint = did_you_mean(name[:80], _names()) or "; expected an IANA name such as 'Europe/London'"
        raise _refused(name, f"tzdata {tzdata_version()} has no such zone{hint}")
    return _resource(f"zoneinfo/{name}")


def _resource(path: str) -> bytes:
    data = get_data("tzdata", path)
    assert data is not None
    return data


def _refused(name: object, reason: str) -> CronError:
    return CronError(f"timezone {shown(name)}: {reason}", timezone=shown(name), field="timezone", reason=reason)


@lru_cache(maxsize=None)
def segments(name: str, until: int) -> tuple[Segment, ...]:
    """Return the segments of a zone from the first instant there is to the end of year `until`, in order.

    They are contiguous, and neighbours differ in their offset. Past the transitions that the zone's file lists,
    its rule goes on (RFC 9636, the footer), as `ZoneInfo` reads it.

    Raises:
        CronError: see `zone`.
    """
    known = zone(name)
    end = _year_start(until + 1) if until < date.max.year else LAST_INSTANT + 1
    changes = [instant for instant in _changes(known, name, until) if FIRST_INSTANT < instant < end]
    starts = [FIRST_INSTANT, *changes]
    offsets = [_offset(known, changes[0] - DAY if changes else 0), *(_offset(known, change) for change in changes)]
    kept = [0, *(i for i in range(1, len(starts)) if offsets[i] != offsets[i - 1])]
    ends = [*(starts[i] for i in kept[1:]), end]
    return tuple(Segment(starts[i], stop, offsets[i]) for i, stop in zip(kept, ends, strict=True))


def segment_at(name: str, instant: int) -> Segment:
    """Return the segment of a zone that an instant lies in.

    Raises:
        CronError: see `zone`.
    """
    # A table ends with its year, which is no change of the clock: it reaches past the instant asked for.
    table = segments(name, min(max(TABLED_YEAR, 1972 + instant // (365 * DAY)), date.max.year))
    return table[bisect_right(table, instant, key=attrgetter("start")) - 1]


def first_instant(name: str, wall: datetime) -> datetime:
    """Return the first instant, in UTC, at which a zone's wall clock shows this time or, where it is skipped, more.

    Raises:
        CronError: see `zone`.
        OverflowError: the instant leaves the years 1 to 9999.

    >>> first_instant("America/Sao_Paulo", datetime(2018, 11, 4)).isoformat()
    '2018-11-04T03:00:00+00:00'
    """
    instant = wall.replace(tzinfo=zone(name), fold=0).astimezone(UTC)
    if instant.astimezone(zone(name)).replace(tzinfo=None) == wall:
        return instant
    return datetime.fromtimestamp(segment_at(name, int(instant.timestamp())).start, UTC)


def _changes(known: ZoneInfo, name: str, until: int) -> Iterator[int]:
    listed = _listed(_data(name))
    yield from listed
    if not listed:
        return
    last = datetime.fromtimestamp(listed[-1], UTC).year
    yield from (change for change in _yearly(known, last) if change > listed[-1])
    # The rule repeats with the calendar, which has fourteen kinds of year.
    kinds: dict[tuple[int, bool], tuple[int, ...]] = {}
    for year in range(last + 1, until + 1):
        start = _year_start(year)
        kind = (date(year, 1, 1).weekday(), isleap(year))
        if kind not in kinds:
            kinds[kind] = tuple(change - start for change in _yearly(known, year))
        yield from (start + change for change in kinds[kind])


def _listed(data: bytes) -> tuple[int, ...]:
    # RFC 9636: a header and a block with 32-bit times, then both again with 64-bit times. The counts are those of
    # ut and standard indicators, leap seconds, times, types, characters.
    ut, standard, leap, times, types, characters = struct.unpack_from(">6l", data, 20)
    second = 44 + times * 5 + types * 6 + characters + leap * 8 + standard + ut
    count = struct.unpack_from(">6l", data, second + 20)[3]
    return struct.unpack_from(f">{count}q", data, second + 44)


def _yearly(known: ZoneInfo, year: int) -> tuple[int, ...]:
    # A rule changes twice in a year, months apart, so a look a week misses nothing.
    start, end = _year_start(year), min(_year_start(year) + 366 * DAY, LAST_INSTANT - DAY)
    looks = [(look, _offset(known, look)) for look in (*range(start, end, WEEK), end)]
    return tuple(_change(known, before, after) for (before, old), (after, new) in pairwise(looks) if old != new)


def _change(known: ZoneInfo, before: int, after: int) -> int:
    old = _offset(known, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(known, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(known: ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, known).utcoffset()
    assert offset is not None
    return offset.days * DAY + offset.seconds


def _year_start(year: int) -> int:
    return (date(year, 1, 1).toordinal() - EPOCH_DAY) * DAY
