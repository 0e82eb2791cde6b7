"""From which partitions of a dependency a partition is made: by the sets, or by a mapping (semantics 2, 8)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.dynamic_sets import Dynamic
from flowstone.core.mapping import check_mapping, upstream_partitions
from flowstone.core.mappings import All, Dimension, Identity, Latest, PartitionMapping, TimeWindow
from flowstone.core.partition_sets import Daily, Hourly, Monthly, Static, Weekly
from flowstone.core.product_sets import Multi
from flowstone.errors import PartitionError, ValidationError

DAY = date(2025, 1, 15)
JANUARY = [date(2025, 1, n) for n in range(1, 32)]
REGIONS = Static(["eu", "us"])
SALES = Multi(day=Daily(), region=REGIONS)


def hours(day: date) -> list[datetime]:
    return [datetime(day.year, day.month, day.day, n, tzinfo=UTC) for n in range(24)]


def mapped(mapping: PartitionMapping, upstream: Any, own: Any, partition: Any, now: datetime | None = None) -> Any:
    mapping.check(upstream, own)
    return mapping.partitions(upstream, own, partition, now)


@pytest.mark.parametrize(
    ("upstream", "own", "partition", "expected"),
    [
        (None, Daily(), DAY, DAY),
        (Daily(), None, DAY, DAY),
        (Daily(), Daily(), DAY, DAY),
        (Hourly(), Daily(), DAY, hours(DAY)),
        (Daily(), Hourly(), hours(DAY)[3], DAY),
        (Daily(), Monthly(), date(2025, 1, 1), JANUARY),
        (Monthly(), Daily(), DAY, date(2025, 1, 1)),
        (Daily(), Weekly(), date(2025, 1, 13), JANUARY[12:19]),
        (Weekly(), Daily(), DAY, date(2025, 1, 13)),
        (Weekly(), Monthly(), date(2025, 2, 1), [date(2025, 1, 27), *(date(2025, 2, n) for n in (3, 10, 17, 24))]),
        (REGIONS, REGIONS, "eu", "eu"),
        (REGIONS, Static(["eu"]), "eu", "eu"),
        (REGIONS, None, None, ["eu", "us"]),
        (Daily("2025-01-01", "2025-01-31"), None, None, JANUARY),
        (SALES, SALES, (DAY, "eu"), (DAY, "eu")),
        (SALES, Daily(), DAY, [(DAY, "eu"), (DAY, "us")]),
        (Daily(), SALES, (DAY, "eu"), DAY),
        (REGIONS, SALES, (DAY, "eu"), "eu"),
        (SALES, Multi(region=REGIONS), ("eu",), None),
        (Multi(day=Hourly(), region=REGIONS), SALES, (DAY, "us"), [(hour, "us") for hour in hours(DAY)]),
        (SALES, Multi(day=Monthly(), region=REGIONS), (date(2025, 1, 1), "eu"), [(day, "eu") for day in JANUARY]),
        (SALES, Multi(region=REGIONS, day=Daily()), ("eu", DAY), (DAY, "eu")),
        (Multi(day=Daily()), Multi(day=Daily(), region=REGIONS), (DAY, "eu"), (DAY,)),
    ],
    ids=str,
)
def test_the_sets_say_from_what_a_partition_is_made(upstream: Any, own: Any, partition: Any, expected: Any) -> None:
    check_mapping(upstream, own)
    if expected is None:
        with pytest.raises(PartitionError, match="is open"):
            upstream_partitions(upstream, own, partition)
    else:
        assert upstream_partitions(upstream, own, partition) == expected


@pytest.mark.parametrize(
    ("upstream", "own"),
    [(Daily(), REGIONS), (REGIONS, Daily()), (Multi(day=Daily()), REGIONS), (Multi(a=Daily()), Multi(b=Daily())),
     (Multi(x=REGIONS), Multi(x=Daily())), (Multi(a=Daily(), b=Monthly()), Daily())],
    ids=str,
)
def test_sets_that_have_nothing_to_do_with_each_other_are_refused(upstream: Any, own: Any) -> None:
    with pytest.raises(PartitionError, match="expected sets that have to do|several dimensions"):
        check_mapping(upstream, own)


def test_who_names_no_partition_of_an_open_set_is_asked_which_one() -> None:
    with pytest.raises(PartitionError, match="Daily.* is open; .* or a partition to be named: which one is to be made"):
        upstream_partitions(Daily(), None, None)


def test_a_dependency_that_misses_the_partition_is_named() -> None:
    catalog = Catalog([
        Asset(lambda context: 1, name="raw", partitions=Static(["eu"])),
        Asset(lambda context, raw: 1, name="report", partitions=Static(["eu", "us"])),
    ])
    assert list(catalog.problems()) == []
    assert catalog.upstream_partitions("report", "raw", "eu") == "eu"
    with pytest.raises(PartitionError, match="asset 'report' from 'raw': .* no partition that belongs to 'us'"):
        catalog.upstream_partitions("report", "raw", "us")


@pytest.mark.property
@given(st.sampled_from([Hourly(), Daily(), Weekly(), Monthly()]), st.sampled_from([Daily(), Weekly(), Monthly()]),
       st.dates(date(2024, 1, 1), date(2026, 1, 1)))
def test_what_is_made_of_shorter_periods_covers_each_of_them(upstream: Any, own: Any, day: date) -> None:
    key = own.key_of(datetime(day.year, day.month, day.day, 12, tzinfo=UTC))
    found = upstream_partitions(upstream, own, key)
    first, last = own.days(key)
    keys = found if isinstance(found, list) else [found]
    touched = [upstream.days(each) for each in keys]
    assert touched[0][0] <= first and last <= touched[-1][1]
    assert keys == sorted(set(keys))


@pytest.mark.property
@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(-40, 40), st.integers(0, 40))
def test_a_window_counts_in_partitions_of_the_asset(day: date, start: int, more: int) -> None:
    window = TimeWindow(start=start, end=start + more)
    days = [day + timedelta(days=n) for n in range(start, start + more + 1)]
    assert mapped(window, Daily(), Daily(), day) == days
    assert mapped(window, Hourly(), Daily(), day) == [hour for each in days for hour in hours(each)]


def test_a_window_of_months_of_hours_and_of_weeks() -> None:
    assert mapped(TimeWindow(start=-1, end=-1), Daily(), Monthly(), date(2025, 2, 1)) == JANUARY
    noon = hours(DAY)[12]
    assert mapped(TimeWindow(start=-2), Hourly(), Hourly(), noon) == hours(DAY)[10:13]
    assert mapped(TimeWindow(start=-1), Daily(), Hourly(), hours(DAY)[0]) == [date(2025, 1, 14), DAY]
    assert mapped(TimeWindow(start=-2, end=-1), Weekly(), Weekly(), date(2025, 1, 13)) == [
        date(2024, 12, 30), date(2025, 1, 6)
    ]


def test_hours_and_days_of_other_clocks_go_together_by_their_instants() -> None:
    morning, new_york = Daily(offset="6h"), Daily(timezone="America/New_York")
    begins = {morning: datetime(2025, 1, 15, 6, tzinfo=UTC), new_york: datetime(2025, 1, 15, 5, tzinfo=UTC)}
    for own, begin in begins.items():
        assert upstream_partitions(Hourly(), own, DAY) == [begin + timedelta(hours=n) for n in range(24)]
        assert upstream_partitions(own, Hourly(), begin) == DAY
        assert upstream_partitions(own, Hourly(), begin - timedelta(hours=1)) == DAY - timedelta(days=1)
        assert mapped(TimeWindow(start=-1), Hourly(), own, DAY)[0] == begin - timedelta(days=1)
        assert mapped(Latest(), Hourly(), own, DAY) == [begin + timedelta(hours=23)]
    two, half = hours(DAY)[2], timedelta(minutes=30)
    assert upstream_partitions(Hourly(timezone="Asia/Kolkata"), Hourly(), two) == [two - half, two + half]


ZONES = ["UTC", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "America/Havana"]


@pytest.mark.property
@given(
    st.sampled_from([Daily, Weekly, Monthly]),
    st.sampled_from(ZONES),
    st.sampled_from(ZONES),
    st.sampled_from(["0s", "2h", "6h", "23h"]),
    st.datetimes(datetime(2009, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)),
)
def test_a_period_is_made_of_the_hours_that_are_in_it(
    kind: Any, name: str, other: str, offset: str, instant: datetime
) -> None:
    periods = kind(timezone=name, offset=offset)
    foreign = Hourly(timezone=other)
    hour = foreign.key_of(instant)
    made_of = upstream_partitions(foreign, periods, upstream_partitions(periods, foreign, hour))
    assert isinstance(made_of, list) and hour in made_of and made_of == sorted(set(made_of))
    own = Hourly(timezone=name)
    period = periods.key_of(own.key_of(instant))
    assert {upstream_partitions(periods, own, each) for each in upstream_partitions(own, periods, period)} == {period}


def test_a_day_that_a_clock_skipped_has_no_hours() -> None:
    apia = Daily(timezone="Pacific/Apia")
    assert upstream_partitions(Hourly(), apia, date(2011, 12, 30)) == []


@pytest.mark.parametrize(
    ("upstream", "own", "partition"),
    [
        (Daily(start="2025-01-16"), Daily(), DAY),
        (Daily(end="2025-01-14"), Hourly(), hours(DAY)[3]),
        (Monthly(start="2025-02-01"), Daily(), DAY),
        (Hourly(start="2025-01-16"), Hourly(), hours(DAY)[3]),
        (Multi(day=Daily(start="2025-01-16"), region=REGIONS), Daily(), DAY),
    ],
    ids=str,
)
def test_the_one_partition_that_is_meant_has_to_be_held(upstream: Any, own: Any, partition: Any) -> None:
    with pytest.raises(PartitionError, match="has no partition that belongs to"):
        upstream_partitions(upstream, own, partition)


def test_weeks_are_made_of_months_alike_whether_they_lie_in_one_or_two() -> None:
    assert upstream_partitions(Monthly(), Weekly(), date(2025, 1, 13)) == [date(2025, 1, 1)]
    assert upstream_partitions(Monthly(), Weekly(), date(2025, 1, 27)) == [date(2025, 1, 1), date(2025, 2, 1)]


def test_the_end_of_the_calendar_is_a_partition_error() -> None:
    with pytest.raises(PartitionError, match="outside the years 1 to 9999"):
        upstream_partitions(Weekly(), Daily(), date.max)
    with pytest.raises(PartitionError, match="outside the years 1 to 9999"):
        upstream_partitions(Hourly(), Daily(timezone="Asia/Tokyo"), date.min)


def test_a_window_leaves_out_what_lies_outside_the_dependency_s_set() -> None:
    began = Daily(start="2025-01-15")
    assert mapped(TimeWindow(start=-3), began, Daily(), DAY) == [DAY]
    assert mapped(TimeWindow(start=-1, end=-1), began, began, DAY) == []


def test_all_are_all_that_a_set_lists() -> None:
    assert mapped(All(), REGIONS, Daily(), DAY) == ["eu", "us"]
    assert mapped(All(), Daily("2025-01-01", "2025-01-31"), REGIONS, "eu") == JANUARY
    for upstream in (None, Daily()):
        with pytest.raises(PartitionError):
            All().check(upstream, None)


def test_the_latest_are_those_up_to_the_own_partition_or_to_now() -> None:
    noon = datetime(2025, 1, 15, 12, tzinfo=UTC)
    assert mapped(Latest(), REGIONS, None, None) == ["us"]
    assert mapped(Latest(2), Daily(), Daily(), DAY) == [date(2025, 1, 14), DAY]
    assert mapped(Latest(2), Daily(), Monthly(), date(2025, 1, 1)) == JANUARY[-2:]
    assert mapped(Latest(2), Daily(), None, None, noon) == [date(2025, 1, 13), date(2025, 1, 14)]
    assert mapped(Latest(5), Daily(start="2025-01-13"), None, None, noon) == [date(2025, 1, 13), date(2025, 1, 14)]
    assert mapped(Latest(), Daily(start="2025-02-01"), None, None, noon) == []
    assert mapped(Latest(2), Daily(end="2025-01-10"), Daily(), DAY) == [date(2025, 1, 9), date(2025, 1, 10)]
    assert mapped(Latest(2), Daily(start="2025-01-16"), Daily(), DAY) == []
    assert mapped(Latest(), Daily("2025-01-01", "2025-01-10"), REGIONS, "eu", noon) == [date(2025, 1, 10)]
    assert mapped(Latest(), Daily("2025-01-01", "2025-01-10"), None, None) == [date(2025, 1, 10)]
    with pytest.raises(PartitionError, match="is open"):
        mapped(Latest(), Daily(), None, None)


def test_the_same_partition_whatever_the_sets_are_called() -> None:
    assert mapped(Identity(), Daily(start="2025-01-01"), Weekly(), date(2025, 1, 13)) == date(2025, 1, 13)
    with pytest.raises(PartitionError, match="no partition that belongs"):
        mapped(Identity(), REGIONS, Daily(), DAY)


def test_a_dimension_is_named_where_several_fit() -> None:
    two = Multi(sold=Daily(), shipped=Daily("2025-01-15", "2025-01-16"))
    assert mapped(Dimension("sold"), two, Daily(), DAY) == [(DAY, DAY), (DAY, date(2025, 1, 16))]
    assert mapped(Dimension("shipped"), Daily(), two, (date(2025, 1, 1), DAY)) == DAY
    assert mapped(Dimension("region"), SALES.dimensions["region"], SALES, (DAY, "eu")) == "eu"
    for mapping, upstream in ((Dimension("sould"), two), (Dimension("sold"), Daily()), (Dimension("sold"), None)):
        with pytest.raises(PartitionError):
            mapping.check(upstream, Daily())


@pytest.mark.parametrize(
    "make",
    [lambda: TimeWindow(start=1), lambda: TimeWindow(start="a"), lambda: TimeWindow(from_=1), lambda: Latest(0),
     lambda: Latest(10**6), lambda: TimeWindow(start=-(10**6))],
)
def test_a_mapping_that_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()


@pytest.mark.parametrize(
    ("mapping", "words"),
    [({"rw": All()}, "did you mean 'raw'"), ({"raw": All}, "expected mapping"), (All(), "to name for dependencies"),
     ({"raw": "all"}, "expected mapping")],
)
def test_an_asset_refuses_mappings_of_what_it_does_not_depend_on(mapping: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Asset(lambda context, raw: 1, name="report", mapping=mapping)


def test_a_catalog_takes_the_mapping_of_the_asset_and_checks_it() -> None:
    raw = Asset(lambda context: 1, name="raw", partitions=Daily())
    week = Asset(lambda context, raw: 1, name="week", partitions=Daily(), mapping={"raw": TimeWindow(start=-6)})
    odd = Asset(lambda context, raw: 1, name="odd", partitions=REGIONS, mapping={"raw": TimeWindow()})
    customers = Asset(lambda context: 1, name="customers", partitions=Dynamic("customers"))
    total = Asset(lambda context, customers: 1, name="total", mapping={"customers": All()})
    catalog = Catalog([raw, week, odd, customers, total])
    assert [str(problem) for problem in catalog.problems() if "odd" not in str(problem)] == []
    assert any("sets over time" in str(problem) for problem in catalog.problems())
    assert len(catalog.upstream_partitions("week", "raw", DAY)) == 7
    assert catalog.upstream_partitions("total", "customers", None) == []
    catalog.dynamic.fill({"customers": ["acme"]})
    assert catalog.upstream_partitions("total", "customers", None) == ["acme"]
    assert catalog.read_partition("customers", "acme") == "acme"
    assert catalog.dynamic_sets() == {"customers"}
