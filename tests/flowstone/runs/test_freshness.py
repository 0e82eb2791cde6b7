"""Why an asset's value was made, was not made, or is stale: in words and data (semantics 8)."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from actors.testing import ManualClock

import flowstone as fs
from flowstone.core.staleness import Staleness
from flowstone.io import MemoryIO


class World:
    """A runtime over raw -> report, whose values and code the test decides about."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.rows = [1]
        self.fails = False
        self.version = "1"
        self.io = {"values": MemoryIO()}
        self.url, self.clock = url, clock

    def start(self) -> fs.Runtime:
        shop = fs.Pipeline("shop")

        @shop.asset(partitions=fs.Daily("2025-01-01"))
        def raw(context: fs.Context) -> list[int]:
            return list(self.rows)

        @shop.asset(
            partitions=fs.Daily("2025-01-01"), mapping={"raw": fs.TimeWindow(start=-1)}, code_version=self.version,
            freshness="1d",
        )
        def report(context: fs.Context, raw: dict[Any, list[int]]) -> int:
            if self.fails:
                raise ValueError("no report today")
            return sum(map(sum, raw.values()))

        return fs.Runtime(shop, store=self.url, clock=self.clock, io_managers=self.io, io_manager="values")


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> World:
    return World(make_store_url(request.param), ManualClock(datetime(2025, 1, 15, 2, tzinfo=UTC)))


@pytest.fixture
def runtime(world: World) -> Iterator[fs.Runtime]:
    with world.start() as running:
        running.materialize("raw", "2025-01-01")
        running.materialize("raw", "2025-01-02")
        yield running


def test_what_nobody_asked_for_says_so(runtime: fs.Runtime) -> None:
    why = runtime.why("report", partition="2025-01-02")
    assert (why.kind, why.id, why.status, why.reason) == ("asset", "report@d:2025-01-02", "stale", "never_materialized")
    assert why.stale and str(why) == "report for 2025-01-02 is stale: nobody has asked for it."


def test_a_value_is_fresh_until_what_it_read_is_another_one(world: World, runtime: fs.Runtime) -> None:
    made = runtime.materialize("report", "2025-01-02")
    why = runtime.why("report", "2025-01-02")
    assert not why.stale and why.reason is None
    assert str(why) == (
        f"report for 2025-01-02 is up to date: run {made.run_id}, asked for by hand, "
        "made it at 2025-01-15 02:00:00 UTC."
    )
    runtime.materialize("raw", "2025-01-01")
    assert not runtime.why("report", "2025-01-02").stale, "the same data version was made again"
    world.rows.append(2)
    runtime.materialize("raw", "2025-01-01")
    why = runtime.why("report", "2025-01-02")
    assert why.stale and why.reason is Staleness.UPSTREAM_NEWER
    assert "raw for 2025-01-01 has another value than the one that it was made from" in str(why)
    runtime.materialize("report", "2025-01-02")
    assert not runtime.why("report", "2025-01-02").stale


def test_a_dependency_without_a_value_makes_it_stale(runtime: fs.Runtime) -> None:
    runtime.materialize("report", "2025-01-02")
    runtime.invalidate("raw", "2025-01-02", by="ada")
    why = runtime.why("report", "2025-01-02")
    assert why.reason is Staleness.UPSTREAM_NEVER_MATERIALIZED
    assert "raw for 2025-01-02, of which it is made, has no value" in str(why)
    assert "was declared invalid" in str(runtime.why("raw", "2025-01-02"))


def test_a_value_grows_old(world: World, runtime: fs.Runtime) -> None:
    runtime.materialize("report", "2025-01-02")
    world.clock.advance("1d")
    assert not runtime.why("report", "2025-01-02").stale
    world.clock.advance("1s")
    why = runtime.why("report", "2025-01-02")
    assert why.reason is Staleness.FRESHNESS_PASSED and str(why).endswith("longer than 1d ago.")


def test_what_failed_since_is_told_too(world: World, runtime: fs.Runtime) -> None:
    runtime.materialize("report", "2025-01-02")
    world.fails = True
    with pytest.raises(fs.ExecutionError):
        runtime.materialize("report", "2025-01-02")
    why = runtime.why("report", "2025-01-02")
    assert not why.stale and "Since then: report for 2025-01-02 of run run_" in str(why)
    assert "no report today" in str(why)


def test_each_asset_stands_in_one_word_for_drawings(world: World, runtime: fs.Runtime) -> None:
    assert runtime.statuses(partition="2025-01-02") == {"raw": "fresh", "report": "stale"}
    world.fails = True
    with pytest.raises(fs.ExecutionError):
        runtime.materialize("report", "2025-01-02")
    assert runtime.statuses("report", "2025-01-02") == {"report": "failed"}
    assert runtime.statuses() == {}, "they have partitions, and none is none of them"


def test_another_code_version_makes_it_stale(world: World) -> None:
    with world.start() as runtime:
        runtime.materialize("raw", "2025-01-01")
        runtime.materialize("report", "2025-01-01")
    world.version = "2"
    with world.start() as runtime:
        why = runtime.why("report", "2025-01-01")
        assert why.reason is Staleness.CODE_VERSION_CHANGED
        assert "its code version is 2 now, and run" in str(why) and str(why).endswith("with 1.")


def test_a_question_that_makes_no_sense_is_refused(runtime: fs.Runtime) -> None:
    with pytest.raises(fs.AssetNotFound, match="did you mean 'report'"):
        runtime.why("reprt", "2025-01-01")
    with pytest.raises(fs.PartitionError):
        runtime.why("report", "2024-01-01")
    with pytest.raises(fs.ValidationError):
        runtime.why("nothing of that name")
