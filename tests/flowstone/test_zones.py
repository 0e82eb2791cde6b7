"""Zones, from the tzdata package alone."""

import threading
import zoneinfo
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from importlib.resources import files
from itertools import pairwise
from pkgutil import get_data

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone import zones
from flowstone.errors import CronError
from flowstone.zones import FIRST_INSTANT, LAST_INSTANT, segments, tzdata_version, zone

NAMES = sorted(files("tzdata").joinpath("zones").read_text().split())
DAY = 86_400


def offset_at(name: str, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, zone(name)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


def test_each_zone_of_tzdata_is_read_and_named() -> None:
    for name in NAMES:
        assert zone(name).key == name


def test_a_zone_is_always_the_same_object() -> None:
    assert zone("Europe/London") is zone("Europe/London")


def test_a_zone_is_what_the_package_says_whatever_the_system_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def tokyo_everywhere(package: str, path: str) -> bytes | None:
        return get_data(package, "zoneinfo/Asia/Tokyo" if path.startswith("zoneinfo") else path)

    monkeypatch.setattr(zones, "_zones", {})
    monkeypatch.setattr(zones, "get_data", tokyo_everywhere)
    assert zone("Europe/London").utcoffset(datetime(2025, 1, 1)) == timedelta(hours=9)
    assert zoneinfo.ZoneInfo("Europe/London").utcoffset(datetime(2025, 1, 1)) == timedelta(0)


def test_the_version_is_that_of_the_package() -> None:
    assert tzdata_version() == version("tzdata")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "America",
        "America/",
        "/etc/localtime",
        "../zoneinfo/UTC",
        "America/../UTC",
        "./UTC",
        "UTC\x00",
        "UTC ",
        "utc",
        "a" * 5000,
        "\udc80",
        "zone.tab",
        "tzdata.zi",
        "__init__.py",
        "Europe\\London",
        "EST5EDT4,M3.2.0,M11.1.0",
    ],
)
def test_a_name_that_tzdata_does_not_have_is_one_error(name: str) -> None:
    with pytest.raises(CronError, match="no such zone") as caught:
        zone(name)
    assert caught.value.context["field"] == "timezone"
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", [None, 5, b"UTC", UTC, ["UTC"], {}])
def test_a_name_must_be_text(name: object) -> None:
    with pytest.raises(CronError, match="expected the name of a time zone as a str"):
        zone(name)  # type: ignore[arg-type]


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(CronError, match="did you mean 'America/New_York'"):
        zone("America/New_Yrok")


@pytest.mark.parametrize("name", NAMES)
def test_segments_are_contiguous_and_change_the_offset(name: str) -> None:
    parts = segments(name, 2200)
    assert parts[0].start == FIRST_INSTANT
    assert parts[-1].end == datetime(2201, 1, 1, tzinfo=UTC).timestamp()
    for before, after in pairwise(parts):
        assert before.end == after.start
        assert before.offset != after.offset


@pytest.mark.parametrize("name", NAMES)
def test_segments_outlast_the_changes_at_their_ends(name: str) -> None:
    # Gaps and folds are decided from neighbours alone: that is right while a segment is longer than its changes.
    parts = segments(name, 2200)
    for before, part, after in zip(parts, parts[1:], parts[2:], strict=False):
        changes = abs(part.offset - before.offset), abs(after.offset - part.offset)
        assert part.end - part.start > max(changes) + DAY


@pytest.mark.property
@given(st.sampled_from(NAMES), st.integers(FIRST_INSTANT + DAY, LAST_INSTANT - DAY))
def test_segments_agree_with_zoneinfo_through_all_years(name: str, instant: int) -> None:
    parts = segments(name, 9999 if instant >= segments(name, 2200)[-1].end else 2200)
    part = parts[bisect_right([part.start for part in parts], instant) - 1]
    assert part.start <= instant < part.end
    assert part.offset == offset_at(name, instant)


@pytest.mark.parametrize(
    "name", ["America/New_York", "America/Nuuk", "Asia/Gaza", "Africa/Cairo", "Europe/Dublin", "America/Santiago"]
)
def test_changes_go_on_past_the_listed_ones_to_the_second(name: str) -> None:
    parts = segments(name, 9999)
    assert parts[-1].end == LAST_INSTANT + 1
    late = [part for part in parts if part.start > datetime(2400, 1, 1, tzinfo=UTC).timestamp()]
    assert len(late) >= 2 * (9999 - 2400)
    for before, part in [*pairwise(late[:200]), *pairwise(late[-10:])]:
        assert offset_at(name, part.start) == part.offset
        assert offset_at(name, part.start - 1) == before.offset


@pytest.mark.parametrize("name", ["America/New_York", "America/Nuuk", "Africa/Cairo", "America/Santiago"])
def test_a_rule_repeats_after_four_hundred_years(name: str) -> None:
    cycle = 146_097 * DAY
    parts = segments(name, 3000)
    years = [part.start for part in parts if 2100 <= datetime.fromtimestamp(part.start, UTC).year < 2500]
    again = [part.start - cycle for part in parts if 2500 <= datetime.fromtimestamp(part.start, UTC).year < 2900]
    assert years == again and len(years) == 800


def test_a_fixed_zone_is_one_segment() -> None:
    assert [(part.start, part.end, part.offset) for part in segments("UTC", 9999)] == [
        (FIRST_INSTANT, LAST_INSTANT + 1, 0)
    ]


def test_the_ends_of_time_are_those_of_datetime() -> None:
    assert datetime.fromtimestamp(FIRST_INSTANT, UTC).replace(tzinfo=None) == datetime.min
    assert datetime.fromtimestamp(LAST_INSTANT, UTC).replace(tzinfo=None) == datetime.max.replace(microsecond=0)


@pytest.mark.concurrent
def test_threads_that_load_one_zone_get_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zones, "_zones", {})
    start, found = threading.Barrier(8), []

    def work() -> None:
        start.wait(10)
        found.append(zone("Europe/Vaduz"))

    threads = [threading.Thread(target=work, name=f"zone-{i}") for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8 and len({id(one) for one in found}) == 1
