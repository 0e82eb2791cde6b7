"""Assertions about runs and values: what satisfies them, and the near misses that they show."""

from __future__ import annotations

from collections.abc import Callable

import flowstone as fs
import pytest
from flowstone.testing import assert_enqueued, assert_materialized, refute_enqueued
from flowstone.testing.assertions import SHOWN


@pytest.fixture
def runtime(flowstone_runtime: Callable[..., fs.Runtime]) -> fs.Runtime:
    """A runtime with a run of `raw` for `a`, one that failed for `b`, and a day."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1 if context.partition == "a" else 1 / 0, name="raw")
    shop.asset(lambda context: 1, name="days", partitions=fs.Daily(start="2025-01-01"))
    started = flowstone_runtime(shop)
    started.materialize("raw", partition="a", run_key="key-a")
    started.materialize_async("raw", partition="b", run_key="key-b")
    started.materialize("days", partition="2025-01-15")
    started.drain(timeout=20)
    return started


def test_a_run_of_any_status_satisfies(runtime: fs.Runtime) -> None:
    assert_enqueued(runtime, "raw")
    assert_enqueued(runtime, "raw", partition="b")
    assert_enqueued(runtime, "raw", partition="a", run_key="key-a")
    refute_enqueued(runtime, "raw", partition=None)
    refute_enqueued(runtime, "raw", partition="b", run_key="key-a")


def test_a_value_has_to_have_the_status(runtime: fs.Runtime) -> None:
    assert_materialized(runtime, "raw", partition="a")
    assert_materialized(runtime, "raw", partition="b", status="failed")
    with pytest.raises(AssertionError, match="expected a materialization of 'raw' partition='b', status='success'"):
        assert_materialized(runtime, "raw", partition="b")


def test_text_is_read_by_the_partition_set(runtime: fs.Runtime) -> None:
    assert_enqueued(runtime, "days", partition="2025-01-15")
    assert_materialized(runtime, "days", partition="2025-01-15")
    with pytest.raises(fs.PartitionError, match="2024"):
        assert_enqueued(runtime, "days", partition="2024-12-31")


def test_near_misses_are_shown_the_nearest_first(runtime: fs.Runtime) -> None:
    for number in range(SHOWN):
        runtime.materialize("days", partition="2025-01-16", run_key=f"day-{number}")
    with pytest.raises(AssertionError) as failed:
        assert_enqueued(runtime, "raw", partition="a", run_key="key-b")
    wanted, *shown = str(failed.value).splitlines()
    assert wanted == "expected a run of 'raw' partition='a', run_key='key-b'; the nearest runs:"
    assert len(shown) == SHOWN
    assert set(shown[:2]) == {
        "  raw partition='a' run_key='key-a' success",
        "  raw partition='b' run_key='key-b' failed",
    }
    with pytest.raises(AssertionError, match="expected no run of 'raw'; the runs:\n  raw partition='b'"):
        refute_enqueued(runtime, "raw")


def test_where_nothing_was_asked_for_it_says_so(flowstone_runtime: Callable[..., fs.Runtime]) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    runtime = flowstone_runtime(shop)
    with pytest.raises(AssertionError, match="expected a run of 'raw'; there are no nearest runs"):
        assert_enqueued(runtime, "raw")
    with pytest.raises(AssertionError, match="status='success'; there are no rows of it"):
        assert_materialized(runtime, "raw")


def test_a_run_of_a_selection_is_one_of_each_asset_in_it(flowstone_runtime: Callable[..., fs.Runtime]) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw", partitions=fs.Daily(start="2025-01-01"))
    shop.asset(lambda context, raw: raw, name="report")
    shop.asset(lambda context, report: report, name="mail")
    started = flowstone_runtime(shop)
    started.materialize_all("report", partition="2025-01-15")
    for asset in ("raw", "report", "+report"):
        assert_enqueued(started, asset, partition="2025-01-15")
        with pytest.raises(AssertionError, match="expected no run of"):
            refute_enqueued(started, asset, partition="2025-01-15")
        refute_enqueued(started, asset, partition="2025-01-16")
    refute_enqueued(started, "mail")
    refute_enqueued(started, "+mail")


@pytest.mark.parametrize("assertion", [assert_enqueued, refute_enqueued, assert_materialized])
def test_an_asset_that_is_not_there_is_refused_and_not_taken_for_one_that_was_not_made(
    runtime: fs.Runtime, assertion: Callable[..., None]
) -> None:
    with pytest.raises(fs.AssetNotFound, match="asset 'rwa' not found; did you mean 'raw'"):
        assertion(runtime, "rwa")
    with pytest.raises(fs.ValidationError, match="expected a selection"):
        assertion(runtime, 5)
