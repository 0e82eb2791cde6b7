"""Partitions of several kinds through a whole runtime: by hand, sensor, schedule and backfill (semantics 2, 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from actors.testing import ManualClock

import flowstone as fs
from flowstone.io import MemoryIO
from flowstone.sensors import Push

DAYS, REGIONS = fs.Daily("2025-01-01"), fs.Static(["eu", "us"])


def shop() -> fs.Pipeline:
    pipeline = fs.Pipeline("shop")

    @pipeline.asset(partitions=fs.Multi(day=DAYS, region=REGIONS))
    def sales(context: fs.Context) -> int:
        day, region = context.partition
        return day.day * (1 if region == "eu" else 100)

    @pipeline.asset(partitions=DAYS)
    def daily_sales(context: fs.Context, sales: dict[Any, int]) -> int:
        return sum(sales.values())

    @pipeline.asset(partitions=fs.Multi(day=DAYS, region=REGIONS))
    def share(context: fs.Context, sales: int, daily_sales: int) -> float:
        return sales / daily_sales

    @pipeline.asset(partitions=DAYS, mapping={"daily_sales": fs.TimeWindow(start=-2, end=-1)})
    def before(context: fs.Context, daily_sales: dict[Any, int]) -> list[Any]:
        return sorted(daily_sales)

    @pipeline.asset(mapping={"daily_sales": fs.Latest(2)})
    def newest(context: fs.Context, daily_sales: dict[Any, int]) -> list[Any]:
        return sorted(daily_sales)

    @pipeline.asset(partitions=fs.Static(["eu"]))
    def targets(context: fs.Context) -> int:
        return 1

    @pipeline.asset(partitions=REGIONS)
    def goals(context: fs.Context, targets: int) -> int:
        return targets

    pipeline.sensor("sold", Push(), target="sales", partition=lambda message: message["key"])
    pipeline.schedule("nightly", cron="0 2 * * *", target="before", partition=fs.previous_day)
    return pipeline


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2025, 1, 4, 1, tzinfo=UTC))


@pytest.fixture(params=["memory", "postgresql"])
def runtime(
    request: pytest.FixtureRequest, make_store_url: Callable[[str], str], clock: ManualClock
) -> Iterator[fs.Runtime]:
    url = make_store_url(request.param)
    options: dict[str, Any] = {"io_managers": {"values": MemoryIO()}, "io_manager": "values", "clock": clock}
    with fs.Runtime(shop(), store=url, **options) as running:
        yield running


def test_a_range_in_each_dimension_is_made_and_read_along_them(runtime: fs.Runtime) -> None:
    row = runtime.backfill("sales", partitions="2025-01-01..2025-01-03|*")
    assert (row.status, row.succeeded) == ("success", 6)
    assert runtime.backfill("daily_sales", partitions="2025-01-01..2025-01-03").succeeded == 3
    assert runtime.get("daily_sales", "2025-01-03") == 303
    assert runtime.materialize("share", "2025-01-02|eu").value == 2 / 202
    assert str(runtime.why("share", "2025-01-02|eu")).startswith("share for 2025-01-02|eu is up to date")
    assert runtime.materialize("share", {"region": "us", "day": "2025-01-02"}).value == 200 / 202
    assert runtime.materialize("before", "2025-01-02").value == [date(2025, 1, 1)]
    assert runtime.materialize("before", "2025-01-01").value == []
    assert runtime.materialize("newest").value == [date(2025, 1, 2), date(2025, 1, 3)]
    places = [(node.asset, node.partition) for node in runtime.lineage.upstream("share", "2025-01-02|eu", depth=1)]
    assert places == [("daily_sales", date(2025, 1, 2)), ("sales", (date(2025, 1, 2), "eu"))]


def test_what_a_sensor_pushes_is_read_by_the_dimensions(runtime: fs.Runtime) -> None:
    evaluation = runtime.sensors.push("sold", {"key": "2025-01-02|us"}, message_id="m1")
    runtime.drain(timeout=20)
    assert runtime.runs.get(evaluation.run_ids[0]).partition == (date(2025, 1, 2), "us")
    assert runtime.get("sales", ("2025-01-02", "us")) == 200
    refused = runtime.sensors.push("sold", {"key": "2025-01-02|asia"}, message_id="m2")
    assert refused.status == "error" and "dimension 'region'" in refused.reason


def test_a_tick_reads_the_window_before_its_partition(runtime: fs.Runtime, clock: ManualClock) -> None:
    runtime.backfill("sales", partitions="2025-01-01..2025-01-03|*")
    runtime.backfill("daily_sales", partitions="2025-01-01..2025-01-03")
    clock.advance("2h")
    runtime.drain(timeout=20)
    assert runtime.get("before", "2025-01-03") == [date(2025, 1, 1), date(2025, 1, 2)]


def test_a_dependency_that_lacks_the_partition_fails_the_run_and_names_both(runtime: fs.Runtime) -> None:
    runtime.materialize("targets", "eu")
    assert runtime.materialize("goals", "eu").value == 1
    with pytest.raises(fs.PartitionError, match="asset 'goals' from 'targets': .* no partition that belongs to 'us'"):
        runtime.materialize("goals", "us")
    (failed,) = runtime.runs.list(asset="goals", partition="us")
    assert failed.status == "failed" and "partition_error" in failed.error
    assert not runtime.runs.list(status="running")


def test_a_value_that_is_missing_in_a_window_is_named_with_its_partition(runtime: fs.Runtime) -> None:
    runtime.materialize("sales", "2025-01-02|eu")
    with pytest.raises(fs.DependencyNotReady, match="sales has no value for 2025-01-02.us yet"):
        runtime.materialize("daily_sales", "2025-01-02")


def test_who_waits_elsewhere_gets_the_error_of_its_own_type(make_store_url: Callable[[str], str]) -> None:
    url = make_store_url("sqlite")
    with fs.Runtime(shop(), store=url) as runtime, fs.Client(shop(), store=url) as client:
        handle = client.materialize_async("goals", "us")
        with pytest.raises(fs.PartitionError, match="no partition that belongs to 'us'"):
            handle.result(timeout=20)
        assert runtime.runs.get(handle.run_id).status == "failed"
