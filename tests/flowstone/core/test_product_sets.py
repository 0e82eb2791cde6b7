"""Sets of several dimensions, and sets whose keys are added (semantics 2)."""

from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.dynamic_sets import Dynamic, DynamicKeys, bind, check_dynamic_key, dynamic_names
from flowstone.core.partition_sets import Daily, Hourly, PartitionSet, Static
from flowstone.core.partitions import decode_partition, encode_partition
from flowstone.core.product_sets import Multi
from flowstone.errors import PartitionError, ValidationError

SALES = Multi(day=Daily(start="2025-01-01", end="2025-01-31"), region=Static(["eu", "us", "a|b"]))
DAY = date(2025, 1, 15)


def test_both_are_partition_sets() -> None:
    assert isinstance(SALES, PartitionSet)
    assert isinstance(Dynamic("customers"), PartitionSet)


def test_the_keys_are_all_combinations_in_the_order_of_the_dimensions() -> None:
    days = [date(2025, 1, n) for n in range(1, 32)]
    assert SALES.keys() == list(product(days, ["eu", "us", "a|b"]))
    assert SALES.keys((DAY, "eu"), ("2025-01-16", "us")) == list(product(days[14:16], ["eu", "us"]))
    assert all(key in SALES for key in SALES.keys())


@pytest.mark.property
@given(st.integers(1, 31), st.sampled_from(["eu", "us", "a|b"]))
def test_each_key_is_held_read_and_stored(day: int, region: str) -> None:
    key = (date(2025, 1, day), region)
    assert key in SALES
    assert SALES.read(key) == SALES.read({"region": region, "day": key[0].isoformat()}) == key
    assert decode_partition(encode_partition(key)) == key


def test_text_is_read_part_by_part_each_by_its_own_set() -> None:
    assert SALES.read("2025-01-15|eu") == (DAY, "eu")
    assert SALES.read(("2025-01-15", "us")) == (DAY, "us")


@pytest.mark.parametrize(
    ("text", "count"),
    [("2025-01-15|eu", 1), ("2025-01-01..2025-01-05|eu", 5), ("2025-01-01..2025-01-05|eu..us", 10),
     ("2025-01-15|*", 3), ("*|eu", 31), ("2025-01-01|eu..2025-01-05|us", 10)],
)
def test_a_range_is_one_in_each_dimension(text: str, count: int) -> None:
    assert len(SALES.range(text)) == len(set(SALES.range(text))) == count


@pytest.mark.parametrize(
    "value",
    ["2025-01-15", "2025-01-15|asia", "2025-02-01|eu", "a|b|c", "", (DAY,), (DAY, "eu", 1), (DAY, 1), DAY, None, 1,
     {"day": DAY}, {"day": DAY, "region": "eu", "more": 1}, ["2025-01-15", "eu"]],
    ids=str,
)
def test_what_the_set_does_not_hold_is_refused(value: Any) -> None:
    assert value not in SALES
    with pytest.raises(PartitionError, match="expected a tuple|dimension '(day|region)'"):
        SALES.read(value)


@pytest.mark.parametrize("text", ["2025-01-05..2025-01-01|eu", "2025-01-01..", "x|y|z..q", 5, "2025-01-15|eu..asia"])
def test_a_range_that_cannot_be_read_is_refused(text: Any) -> None:
    with pytest.raises(PartitionError):
        SALES.range(text)


def test_an_instant_has_a_key_where_each_dimension_has_one() -> None:
    instant = datetime(2025, 1, 15, 2, 30, tzinfo=UTC)
    clocks = Multi(day=Daily(), hour=Hourly())
    assert clocks.key_of(instant) == (DAY, instant.replace(minute=0))
    with pytest.raises(PartitionError, match="no partition of an instant"):
        SALES.key_of(instant)


@pytest.mark.parametrize("dimensions", [{}, {"day": "daily"}, {"day": Daily}, {"all": SALES}])
def test_dimensions_are_sets_of_one_dimension(dimensions: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected"):
        Multi(**dimensions)


def test_a_set_shows_itself_and_equals_its_like() -> None:
    one = Multi(day=Daily(start="2025-01-01"), region=Static(["eu"]))
    assert repr(one).startswith("Multi(day=Daily(start='2025-01-01'), region=")
    assert one == Multi(day=Daily(start="2025-01-01"), region=Static(["eu"])) != Multi(day=Daily())


@pytest.fixture
def known() -> DynamicKeys:
    keys = DynamicKeys()
    keys.fill({"customers": ["acme", "globex", "initech"]})
    return keys


def test_a_dynamic_set_holds_what_was_added_in_that_order(known: DynamicKeys) -> None:
    customers = Dynamic("customers", known=known)
    assert customers.keys() == ["acme", "globex", "initech"]
    assert customers.keys("globex") == ["globex", "initech"]
    assert customers.range("acme..globex") == ["acme", "globex"]
    assert "acme" in customers and customers.read("acme") == "acme"
    known.fill({"customers": ["globex"]})
    assert "acme" not in customers and customers.keys() == ["globex"]


def test_what_was_not_added_is_refused_with_the_nearest(known: DynamicKeys) -> None:
    customers = Dynamic("customers", known=known)
    with pytest.raises(PartitionError, match="did you mean 'acme'"):
        customers.read("acm")
    with pytest.raises(PartitionError, match="runtime.partitions.add"):
        customers.read(5)
    with pytest.raises(PartitionError, match="range in the order"):
        customers.range("globex..acme")
    with pytest.raises(PartitionError, match="no partition of an instant"):
        customers.key_of(datetime.now(UTC))


def test_sets_are_bound_to_known_keys_in_dimensions_too(known: DynamicKeys) -> None:
    both = Multi(day=Daily(), customer=Dynamic("customers"))
    assert (DAY, "acme") not in both
    bound = bind(both, known)
    assert bound is not None and (DAY, "acme") in bound and bound == both
    assert dynamic_names(both) == {"customers"}
    plain = Daily()
    assert bind(plain, known) is plain and bind(None, known) is None and dynamic_names(None) == set()


@pytest.mark.parametrize("key", ["", 5, None, "x" * 256, ("a",)])
def test_a_key_to_add_is_text_of_some_length(key: Any) -> None:
    with pytest.raises(ValidationError):
        check_dynamic_key(key)


def test_a_key_to_add_is_legal_text() -> None:
    assert check_dynamic_key("2025-01-15") == "2025-01-15"
    with pytest.raises(PartitionError):
        check_dynamic_key("\ud800")
