"""Assets as a whole: partitions of selections, of dependencies, and what does not fit."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import flowstone as fs
import pytest
from flowstone.core.catalog import Catalog
from flowstone.core.mapping import upstream_partitions


def catalog() -> Catalog:
    return Catalog(
        [
            fs.Asset(lambda context: 1, name="day", partitions=fs.Daily(start="2025-01-01", end="2025-12-31")),
            fs.Asset(lambda context, day: 1, name="month", partitions=fs.Monthly(start="2025-01-01", end="2025-12-01")),
            fs.Asset(lambda context, day: 1, name="note"),
            fs.Asset(lambda context, month: 1, name="year"),
            fs.Asset(lambda context: 1, name="region", partitions=fs.Static(["eu", "us"])),
        ]
    )


def test_text_is_read_by_the_set_of_the_target() -> None:
    assert catalog().read_partition("day", "2025-01-15") == date(2025, 1, 15)
    assert catalog().read_partition("day", date(2025, 1, 15)) == date(2025, 1, 15)


def test_what_the_set_does_not_hold_is_refused() -> None:
    with pytest.raises(fs.PartitionError, match="day"):
        catalog().read_partition("day", "2024-12-31")
    with pytest.raises(fs.PartitionError):
        catalog().read_partition("month", date(2025, 1, 15))


def test_without_a_set_any_legal_value_stays_as_it_is() -> None:
    assert catalog().read_partition("region", "eu") == "eu"
    assert catalog().read_partition("note", ("a", 1)) == ("a", 1)
    with pytest.raises(fs.PartitionError, match="float"):
        catalog().read_partition("note", 1.5)


def test_text_for_an_asset_without_a_set_is_read_by_what_it_depends_on() -> None:
    assert catalog().read_partition("note", "2025-01-15") == date(2025, 1, 15)
    assert catalog().read_partition("note", "somewhere") == "somewhere"


def test_a_selection_is_read_by_its_sets_and_held_by_all_of_them() -> None:
    assert catalog().read_partition("+note", "2025-01-15") == date(2025, 1, 15)
    with pytest.raises(fs.PartitionError):
        catalog().read_partition("day region", "2025-01-15")


def test_the_default_partition_is_the_sets_key_of_the_instant_else_the_local_date() -> None:
    instant = datetime(2025, 2, 1, 3, tzinfo=UTC)
    assert catalog().default_partition("month", instant, "UTC") == date(2025, 2, 1)
    assert catalog().default_partition("note", instant, "America/New_York") == date(2025, 1, 31)


@pytest.mark.parametrize(
    ("upstream", "own", "partition", "expected"),
    [
        (None, fs.Daily(), date(2025, 1, 15), date(2025, 1, 15)),
        (fs.Daily(), fs.Daily(), date(2025, 1, 15), date(2025, 1, 15)),
        (fs.Daily(), None, date(2025, 1, 15), date(2025, 1, 15)),
        (fs.Monthly(), fs.Daily(), date(2025, 1, 15), date(2025, 1, 1)),
        (fs.Weekly(), fs.Daily(), date(2025, 1, 15), date(2025, 1, 13)),
        (fs.Daily(), fs.Weekly(), date(2025, 1, 13), [date(2025, 1, day) for day in range(13, 20)]),
        (fs.Daily(start="2025-01-30"), fs.Monthly(), date(2025, 1, 1), [date(2025, 1, 30), date(2025, 1, 31)]),
        (fs.Static(["eu", "us"]), None, None, ["eu", "us"]),
        (fs.Static(["eu", "us"]), fs.Static(["us", "eu", "asia"]), "eu", "eu"),
    ],
)
def test_the_partitions_of_a_dependency_follow_from_the_sets(
    upstream: Any, own: Any, partition: Any, expected: Any
) -> None:
    assert upstream_partitions(upstream, own, partition) == expected


def test_the_hours_of_a_local_day_follow_its_zone() -> None:
    new_york = "America/New_York"
    hours = upstream_partitions(fs.Hourly(timezone=new_york), fs.Daily(timezone=new_york), date(2025, 11, 2))
    assert isinstance(hours, list)
    assert (len(hours), hours[0]) == (25, datetime(2025, 11, 2, 4, tzinfo=UTC))


def test_an_open_set_has_no_all() -> None:
    with pytest.raises(fs.PartitionError, match="open"):
        upstream_partitions(fs.Daily(start="2025-01-01"), None, None)


def test_sets_that_have_nothing_to_do_with_each_other_are_a_problem_of_the_whole() -> None:
    odd = Catalog([*catalog().assets.values(), fs.Asset(lambda context, region: 1, name="odd", partitions=fs.Daily())])
    (problem,) = odd.problems()
    assert isinstance(problem, fs.PartitionError)
    with pytest.raises(fs.PartitionError):
        upstream_partitions(fs.Static(["eu"]), fs.Daily(), date(2025, 1, 1))


def test_two_assets_of_one_name_are_refused_with_both_places() -> None:
    with pytest.raises(fs.ValidationError, match="defined twice"):
        Catalog([fs.Asset(lambda context: 1, name="raw"), fs.Asset(lambda context: 2, name="raw")])
