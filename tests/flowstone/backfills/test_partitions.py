"""What a backfill is asked for: ranges, keys, sets, and what is refused."""

from datetime import date

import pytest

import flowstone as fs
from flowstone.backfills.partitions import asked_partitions
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.errors import AssetNotFound, PartitionError, ValidationError

DAYS = [date(2025, 1, day) for day in (1, 2, 3)]


@pytest.fixture
def catalog() -> Catalog:
    """Days, a report of each of them, regions, and something without partitions."""
    return Catalog(
        [
            Asset(lambda context: 1, name="raw", partitions=fs.Daily(start="2025-01-01")),
            Asset(lambda context, raw: raw, name="report"),
            Asset(lambda context: 1, name="region", partitions=fs.Static(["eu", "us", "asia"])),
            Asset(lambda context: 1, name="plain"),
        ]
    )


@pytest.mark.parametrize("asset", ["raw", "report", "+report", "plain"])
def test_a_range_of_days_has_both_ends(catalog: Catalog, asset: str) -> None:
    assert asked_partitions(catalog, asset, "2025-01-01..2025-01-03") == tuple(DAYS)


@pytest.mark.parametrize(
    "given",
    [
        ["2025-01-01", "2025-01-02", "2025-01-03"],
        DAYS,
        tuple(DAYS),
        {"2025-01-03", "2025-01-01", "2025-01-02"},
        fs.Daily(start="2025-01-01", end="2025-01-03"),
        (day for day in DAYS),
        [*DAYS, "2025-01-01"],
    ],
)
def test_keys_are_read_by_the_set_each_once(catalog: Catalog, given: object) -> None:
    assert asked_partitions(catalog, "raw", given) == tuple(DAYS)


def test_one_partition_needs_no_list(catalog: Catalog) -> None:
    assert asked_partitions(catalog, "raw", DAYS[0]) == asked_partitions(catalog, "raw", "2025-01-01") == (DAYS[0],)
    assert asked_partitions(catalog, "plain", "anything") == ("anything",)
    assert asked_partitions(catalog, "plain", 7) == (7,)


def test_keys_of_a_list_are_taken_in_its_order(catalog: Catalog) -> None:
    assert asked_partitions(catalog, "region", "us..asia") == ("us", "asia")
    assert asked_partitions(catalog, "region", ["asia", "eu"]) == ("asia", "eu")


@pytest.mark.parametrize("given", [[], set(), (), iter([])])
def test_an_empty_backfill_is_refused(catalog: Catalog, given: object) -> None:
    with pytest.raises(ValidationError, match="expected partitions to backfill 'raw' for, got none"):
        asked_partitions(catalog, "raw", given)


@pytest.mark.parametrize("asset", ["raw", "plain"])
def test_a_range_that_ends_before_it_starts_is_refused(catalog: Catalog, asset: str) -> None:
    with pytest.raises(PartitionError, match="expected a range that goes up"):
        asked_partitions(catalog, asset, "2025-01-05..2025-01-01")


@pytest.mark.parametrize("given", ["2024-12-31..2025-01-02", ["2024-12-31"], "yesterday", fs.Daily(start="2025-01-01")])
def test_what_the_set_does_not_hold_is_refused(catalog: Catalog, given: object) -> None:
    with pytest.raises(PartitionError):
        asked_partitions(catalog, "raw", given)


def test_a_dynamic_set_means_the_keys_that_were_added() -> None:
    customers = fs.Dynamic("customers")
    sales = fs.Multi(day=fs.Daily("2025-01-01", "2025-01-02"), customer=customers)
    catalog = Catalog([
        fs.Asset(lambda context: 1, name="orders", partitions=customers),
        fs.Asset(lambda context: 1, name="sales", partitions=sales),
    ])
    catalog.dynamic.fill({"customers": ["acme", "initech"]})
    assert asked_partitions(catalog, "orders", customers) == ("acme", "initech")
    assert len(asked_partitions(catalog, "sales", sales)) == 4


def test_a_range_without_a_set_is_one_of_days(catalog: Catalog) -> None:
    with pytest.raises(PartitionError, match="'plain' has no partition set, so that a range is one of days"):
        asked_partitions(catalog, "plain", "a..b")


@pytest.mark.parametrize("given", [None, 1.5, object()])
def test_what_is_nothing_of_the_kind_is_refused(catalog: Catalog, given: object) -> None:
    with pytest.raises(ValidationError, match="expected partitions to be a range"):
        asked_partitions(catalog, "raw", given)


def test_an_unknown_asset_is_refused(catalog: Catalog) -> None:
    with pytest.raises(AssetNotFound, match="did you mean 'raw'"):
        asked_partitions(catalog, "rwa", "2025-01-01")
