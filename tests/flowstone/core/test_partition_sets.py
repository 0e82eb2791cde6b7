"""Partition sets (semantics 2): what each holds, reads, lists, and gives for an instant."""

import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.partition_sets import Daily, Hourly, Monthly, PartitionSet, Static, Weekly
from flowstone.core.partitions import decode_partition, encode_partition
from flowstone.errors import CronError, PartitionError, ValidationError
from flowstone.zones import zone

ZONES = [
    "UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Pacific/Chatham", "Africa/Cairo",
    "America/Santiago", "Asia/Kolkata", "Pacific/Apia", "America/St_Johns",
]
DAY = 86_400
offsets = {Daily: DAY, Weekly: 7 * DAY, Monthly: 28 * DAY, Hourly: 3600}
time_sets = st.sampled_from(sorted(offsets, key=lambda kind: kind.__name__)).flatmap(
    lambda kind: st.builds(
        kind, timezone=st.sampled_from(ZONES), offset=st.just(0) | st.integers(0, offsets[kind] - 1)
    )
)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2150, 1, 1), timezones=st.just(UTC))


def hour(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.property
@given(time_sets, instants)
def test_the_key_of_an_instant_is_held_and_read_and_stored(partitions: Any, instant: datetime) -> None:
    key = partitions.key_of(instant)
    assert key in partitions
    assert partitions.read(key) == key
    assert partitions.read(key.isoformat()) == key
    assert partitions.range(key.isoformat()) == [key]
    assert decode_partition(encode_partition(key)) == key


@pytest.mark.property
@given(time_sets, instants, st.integers(0, 40), st.integers(0, 40))
def test_listing_in_two_parts_is_listing_at_once(partitions: Any, instant: datetime, before: int, after: int) -> None:
    step = timedelta(hours=1) if isinstance(partitions, Hourly) else timedelta(days=1)
    middle = partitions.key_of(instant)
    first, last = middle - before * step, middle + after * step
    keys = partitions.keys(first, last)
    assert keys == sorted(set(keys))
    assert keys == partitions.keys(first, middle) + [key for key in partitions.keys(middle, last) if key != middle]
    assert all(key in partitions and first <= key <= last for key in keys)


@pytest.mark.property
@given(st.sampled_from(ZONES), st.integers(0, 3599), instants)
def test_hours_cut_time_without_hole_or_overlap(name: str, offset: int, instant: datetime) -> None:
    hours = Hourly(timezone=name, offset=offset)
    key = hours.key_of(instant)
    (following,) = hours.keys(key + timedelta(seconds=1), key + timedelta(hours=1))[:1]
    assert key <= instant < following <= key + timedelta(hours=1)
    assert hours.key_of(following - timedelta(microseconds=1)) == key
    assert hours.key_of(following) == following


@pytest.mark.property
@given(st.sampled_from(ZONES), instants)
def test_the_day_of_an_instant_is_its_date_in_the_zone(name: str, instant: datetime) -> None:
    day = instant.astimezone(zone(name)).date()
    assert Daily(timezone=name).key_of(instant) == day
    assert Weekly(timezone=name).key_of(instant) == day - timedelta(days=day.weekday())
    assert Monthly(timezone=name).key_of(instant) == day.replace(day=1)


@pytest.mark.property
@given(st.sampled_from(ZONES), st.dates(date(1971, 1, 1), date(2099, 1, 1)))
def test_the_hours_of_a_day_are_those_of_its_instants(name: str, day: date) -> None:
    hours = Hourly(timezone=name)
    if name == "America/St_Johns":  # midnight itself was repeated there
        return
    listed = hours.range(f"{day}..{day}")
    assert {key.astimezone(zone(name)).date() for key in listed} <= {day}
    assert hours.range(f"{day}..{day + timedelta(days=1)}")[len(listed):] == hours.range(
        f"{day + timedelta(days=1)}..{day + timedelta(days=1)}"
    )


@pytest.mark.parametrize("kind", [Daily, Hourly, Weekly, Monthly])
def test_every_kind_is_a_partition_set(kind: Any) -> None:
    assert isinstance(kind(), PartitionSet)
    assert isinstance(Static(["a"]), PartitionSet)
    assert not isinstance(["a"], PartitionSet)


def test_ends_are_inclusive() -> None:
    assert len(Daily().range("2025-01-01..2025-01-05")) == 5
    assert Daily(start="2025-01-01", end="2025-01-05").keys() == [date(2025, 1, day) for day in range(1, 6)]
    assert Monthly(start="2025-01", end="2025-03").keys() == [date(2025, month, 1) for month in (1, 2, 3)]
    assert len(Hourly(start="2025-01-01", end="2025-01-02").keys()) == 48
    assert Hourly(start="2025-01-01T22:00", end="2025-01-02T01:00").keys()[-1] == hour(2025, 1, 2, 1)


def test_a_set_starts_with_the_first_partition_that_begins_in_it() -> None:
    assert Weekly(start="2025-01-01", end="2025-01-14").keys() == [date(2025, 1, 6), date(2025, 1, 13)]
    assert Monthly(start=date(2025, 1, 2), end="2025-02").keys() == [date(2025, 2, 1)]


def test_text_is_read_by_the_set() -> None:
    assert Daily().read("2025-01-15") == date(2025, 1, 15)
    assert Weekly().read("2025-W03") == Weekly().read("2025-01-13") == date(2025, 1, 13)
    assert Weekly(offset="6d").read("2025-W03") == date(2025, 1, 19)
    assert Monthly().read("2025-03") == Monthly().read("2025-03-01") == date(2025, 3, 1)
    assert Hourly().read("2025-01-15T02:00:00Z") == Hourly().read("2025-01-15T02") == hour(2025, 1, 15, 2)
    assert Hourly(timezone="Asia/Kolkata").read("2025-01-15T02:00") == hour(2025, 1, 14, 20, 30)
    assert Hourly().read(datetime(2025, 1, 15, 4, tzinfo=timezone(timedelta(hours=2)))).tzinfo is UTC


@pytest.mark.parametrize(
    ("partitions", "value"),
    [
        (Daily(), "2025-02-30"), (Daily(), "20250115"), (Daily(), "2025-1-15"), (Daily(), "2025-01-15T00:00:00"),
        (Daily(), ""), (Daily(), "x" * 1000), (Daily(), datetime(2025, 1, 15)), (Daily(), None), (Daily(), 20250115),
        (Daily(), "٢٠٢٥-٠١-١٥"), (Daily(), ("2025-01-15",)), (Daily(start="2025-01-02"), "2025-01-01"),
        (Daily(end="2025-01-02"), date(2025, 1, 3)), (Weekly(), "2025-01-14"), (Weekly(), "2025-W60"),
        (Weekly(), date(2025, 1, 14)), (Monthly(), "2025-13"), (Monthly(), "2025-01-02"),
        (Weekly(offset="1d"), "2025-01-13"),
        (Hourly(), "2025-01-15T02:30"), (Hourly(), "2025-01-15"), (Hourly(), "2025-01-15T25:00"),
        (Hourly(), datetime(2025, 1, 15, 2)), (Hourly(), date(2025, 1, 15)), (Hourly(), "0001-01-01T00:00+05:00"),
        (Hourly(), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))),
        (Weekly(offset="1d"), date(1, 1, 1)), (Static(["a", "b"]), "c"), (Static(["a", "b"]), 1.5),
        (Static([1]), True), (Static(["a"]), "\ud800"),
    ],
)
def test_what_a_set_does_not_hold_is_a_partition_error(partitions: Any, value: Any) -> None:
    with pytest.raises(PartitionError):
        partitions.read(value)
    if not isinstance(value, str):
        assert value not in partitions


def test_text_is_no_member_of_a_set_of_dates() -> None:
    assert "2025-01-15" not in Daily()
    assert date(2025, 1, 15) in Daily()


def test_the_key_of_an_instant_is_by_the_set_s_own_zone() -> None:
    late = hour(2025, 1, 15, 3)
    assert Daily().key_of(late) == date(2025, 1, 15)
    assert Daily(timezone="America/New_York").key_of(late) == date(2025, 1, 14)
    assert Daily(timezone="America/New_York").key_of(late.astimezone(zone("Asia/Tokyo"))) == date(2025, 1, 14)


def test_an_offset_moves_the_beginning_of_each_partition() -> None:
    assert Daily(offset="6h").key_of(hour(2025, 1, 15, 5, 59)) == date(2025, 1, 14)
    assert Daily(offset="6h").key_of(hour(2025, 1, 15, 6)) == date(2025, 1, 15)
    sundays = Weekly(offset="6d")
    assert sundays.key_of(hour(2025, 1, 18, 23)) == date(2025, 1, 12)
    assert sundays.range("2025-01-01..2025-01-31") == [date(2025, 1, day) for day in (5, 12, 19, 26)]
    assert Monthly(offset="14d").range("2025-01-01..2025-03-31") == [date(2025, m, 15) for m in (1, 2, 3)]
    assert Hourly(offset=900).key_of(hour(2025, 1, 15, 2, 10)) == hour(2025, 1, 15, 1, 15)


def test_a_day_of_shifted_hours_begins_with_the_first_hour_that_begins_in_it() -> None:
    keys = Hourly(offset="15m").range("2025-01-15..2025-01-15")
    assert (keys[0], keys[-1], len(keys)) == (hour(2025, 1, 15, 0, 15), hour(2025, 1, 15, 23, 15), 24)


def test_a_set_survives_pickling() -> None:
    for partitions in (Daily("2025-01-01"), Hourly(timezone="Europe/London", offset=900), Static(["a", ("b", 1)])):
        assert pickle.loads(pickle.dumps(partitions)) == partitions


def test_an_instant_outside_the_set_or_without_a_zone_has_no_key() -> None:
    with pytest.raises(PartitionError, match="does not hold 2024-12-31"):
        Daily(start="2025-01-01").key_of(hour(2024, 12, 31))
    with pytest.raises(PartitionError, match="aware"):
        Daily().key_of(datetime(2025, 1, 1))
    with pytest.raises(PartitionError, match="1 to 9999"):
        Daily(timezone="America/New_York").key_of(datetime.min.replace(tzinfo=UTC))
    with pytest.raises(PartitionError, match="no partition of an instant"):
        Static(["a"]).key_of(hour(2025, 1, 1))


@pytest.mark.parametrize(
    ("name", "day", "count"),
    [
        ("America/New_York", "2025-03-09", 23), ("America/New_York", "2025-11-02", 25), ("UTC", "2025-03-09", 24),
        ("Australia/Lord_Howe", "2025-04-06", 25), ("Australia/Lord_Howe", "2025-10-05", 24),
        ("Africa/Cairo", "2025-04-25", 23), ("Africa/Cairo", "2025-10-30", 25),
        ("America/Santiago", "2025-09-07", 23),
        ("Pacific/Chatham", "2025-04-06", 26), ("Pacific/Apia", "2011-12-29", 24),
    ],
)
def test_a_day_has_the_hours_that_its_clock_showed(name: str, day: str, count: int) -> None:
    # Lord Howe's repeated and skipped half hours, and Chatham's change at 03:45, are partitions of their own.
    assert len(Hourly(timezone=name).range(f"{day}..{day}")) == count


def test_local_text_that_occurs_twice_or_never_is_refused_with_the_instants() -> None:
    hours = Hourly(timezone="America/New_York")
    with pytest.raises(PartitionError, match="twice, as 2025-11-02T05:00:00Z and 2025-11-02T06:00:00Z"):
        hours.read("2025-11-02T01:00")
    with pytest.raises(PartitionError, match="skipped"):
        hours.read("2025-03-09T02:00")
    assert hours.read("2025-11-02T01:00-05:00") == hour(2025, 11, 2, 6)


@pytest.mark.parametrize(
    "text",
    ["..", "2025-01-01..", "..2025-01-01", "2025-01-01..2025-01-02..2025-01-03", "2025-01-02..2025-01-01",
     "2025-01-01...2025-01-02", "a..b", "", "2025-06-01..2027-01-01", "2024-01-01..2025-01-01", None, 3],
)
def test_a_range_that_is_none_or_leaves_the_set_is_refused(text: Any) -> None:
    with pytest.raises(PartitionError):
        Daily(start="2025-01-01", end="2025-12-31").range(text)


def test_an_open_set_lists_only_what_is_bounded() -> None:
    with pytest.raises(PartitionError, match="is open"):
        Daily(start="2025-01-01").keys()
    assert Daily(start="2025-01-01").keys(last="2025-01-02") == [date(2025, 1, 1), date(2025, 1, 2)]
    assert Daily(start="2025-01-01").keys("2024-01-01", "2025-01-01") == [date(2025, 1, 1)]
    assert Daily().keys("2025-01-02", "2025-01-01") == []


def test_listing_ends_where_the_calendar_ends() -> None:
    assert Daily().range("9999-12-30..9999-12-31") == [date(9999, 12, 30), date(9999, 12, 31)]
    assert Monthly().range("9999-12-01..9999-12-31") == [date(9999, 12, 1)]
    assert Weekly().range("0001-01-01..0001-01-08") == [date(1, 1, 1), date(1, 1, 8)]
    assert Hourly().range("9999-12-31T22:00..9999-12-31T23:00") == [hour(9999, 12, 31, 22), hour(9999, 12, 31, 23)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Daily(start="2025-02-30"), lambda: Daily(start=20250101), lambda: Daily(start=datetime(2025, 1, 1)),
        lambda: Daily(start="2025-01-02", end="2025-01-01"), lambda: Daily(offset="24h"), lambda: Daily(offset=-1),
        lambda: Daily(offset=0.5), lambda: Hourly(offset="1h"), lambda: Hourly(start=3), lambda: Daily(offset="x"),
        lambda: Daily(tz="UTC"), lambda: Daily(strt="2025-01-01"), lambda: Weekly(offset="7d"), lambda: Static([]),
        lambda: Static("abc"), lambda: Static(["a", "a"]), lambda: Static([1.5]), lambda: Static(3),
        lambda: Static(members=["a"]), lambda: Hourly(start="2025-03-09T02:00", timezone="America/New_York"),
    ],
)
def test_bad_definitions_are_refused_where_they_are_made(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()


def test_an_unknown_zone_is_a_cron_error() -> None:
    with pytest.raises(CronError, match="Mars"):
        Daily(timezone="Mars/Olympus")


def test_equal_definitions_are_equal_and_show_themselves_as_they_are_written() -> None:
    shown = repr(Daily("2025-01-01", timezone="Europe/London", offset="6h"))
    assert shown == "Daily(start='2025-01-01', timezone='Europe/London', offset='6h')"
    assert eval(shown) == Daily(date(2025, 1, 1), timezone="Europe/London", offset=21600)
    assert hash(Daily("2025-01-01")) == hash(Daily(date(2025, 1, 1)))
    assert Daily("2025-01-01") != Weekly("2025-01-01")


def test_a_list_keeps_its_order_and_reads_plain_and_stored_texts() -> None:
    regions = Static(["eu", "us", "asia"])
    assert regions.keys() == ["eu", "us", "asia"]
    assert regions.keys("us") == ["us", "asia"]
    assert regions.range("eu..us") == ["eu", "us"]
    with pytest.raises(PartitionError, match="order"):
        regions.range("asia..eu")
    with pytest.raises(PartitionError, match="did you mean 'asia'"):
        regions.read("asai")
    mixed = Static([1, True, date(2025, 1, 15), ("a", 1), None])
    read = [mixed.read(text) for text in ("1", "true", "2025-01-15", "i:1", "")]
    assert read == [1, True, date(2025, 1, 15), 1, None]
    assert mixed.read(encode_partition(("a", 1))) == ("a", 1)


def test_a_text_of_the_list_means_itself_whatever_it_looks_like() -> None:
    assert Static([1, "1"]).read("1") == "1"
    assert Static(["a..b", "c"]).range("a..b") == ["a..b"]
    assert Static([date(2025, 1, 15), "2025-01-15", "d:2025-01-15"]).read("d:2025-01-15") == "d:2025-01-15"
