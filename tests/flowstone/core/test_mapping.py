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
