"""What was made from what, as a runtime tells it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import flowstone as fs
import pytest
from flowstone.lineage import store

Make = Callable[..., fs.Runtime]
DAY, MONTH = date(2025, 1, 15), date(2025, 1, 1)


# The store comes first, so that it goes last.
@pytest.fixture
def runtime(store_url: str, flowstone_runtime: Make) -> fs.Runtime:
    pipeline = fs.Pipeline("shop")
    days = fs.Daily(start="2025-01-14", end="2025-01-15")
    pipeline.asset(lambda context: 1, name="raw", partitions=days)
    pipeline.asset(lambda context, raw: 2, name="clean", partitions=days)
    pipeline.asset(lambda context, raw, clean: 3, name="report", partitions=days)
    pipeline.asset(lambda context, report: len(report), name="month", partitions=fs.Monthly(start="2025-01-01"))
    pipeline.asset(lambda context: 5, name="aside")
    return flowstone_runtime(pipeline, store=store_url, io_manager="memory")


def rows(nodes: Any) -> list[tuple[str, Any, int]]:
    return [(node.asset, node.partition, node.depth) for node in nodes]


def make_all(runtime: fs.Runtime) -> None:
    for day in (14, 15):
        runtime.materialize("+report", partition=f"2025-01-{day}")
    runtime.materialize("month", partition=MONTH)


def test_each_node_comes_once_with_its_shortest_depth(runtime: fs.Runtime) -> None:
    make_all(runtime)
    make_all(runtime)
    assert rows(runtime.lineage.upstream("report", partition="2025-01-15")) == [("clean", DAY, 1), ("raw", DAY, 1)]
    assert rows(runtime.lineage.downstream("raw", partition=DAY)) == [
        ("clean", DAY, 1),
        ("report", DAY, 1),
        ("month", MONTH, 2),
    ]
    assert rows(runtime.lineage.impact("clean", partition=DAY)) == [("report", DAY, 1), ("month", MONTH, 2)]
    assert len(runtime.lineage.upstream("month", partition=MONTH)) == 6
    assert len(runtime.lineage.upstream("month", partition=MONTH, depth=1)) == 2


def test_what_is_unknown_or_was_never_made_has_none(runtime: fs.Runtime) -> None:
    assert runtime.lineage.upstream("nope") == []
    assert runtime.lineage.impact("raw", partition=DAY) == []
    runtime.materialize("aside")
    assert runtime.lineage.upstream("aside") == runtime.lineage.downstream("aside") == []


@pytest.mark.parametrize("depth", [0, -1, 1.5, True, "3"])
def test_a_depth_that_is_none_is_refused(runtime: fs.Runtime, depth: Any) -> None:
    with pytest.raises(fs.ValidationError, match="expected depth to be an int of at least 1"):
        runtime.lineage.upstream("raw", partition=DAY, depth=depth)
    with pytest.raises(fs.PartitionError):
        runtime.lineage.upstream("raw", partition="1999-01-01")


def test_edges_name_the_runs_and_versions_that_were_read(runtime: fs.Runtime) -> None:
    make_all(runtime)
    [made] = runtime.materializations.list(asset="report", partition=DAY)
    [raw] = runtime.materializations.list(asset="raw", partition=DAY)
    services = runtime._services
    inputs = services.database.read(lambda connection: store.inputs_of(connection, made.run_id, "report"))
    assert [(each.asset, each.partition, each.run_id) for each in inputs] == [
        ("clean", "d:2025-01-15", made.run_id),
        ("raw", "d:2025-01-15", raw.run_id),
    ]
    assert inputs[1].data_version == raw.stored.data_version


def test_an_attempt_that_fails_has_no_lineage(flowstone_runtime: Make) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: 1, name="raw")
    pipeline.asset(lambda context, raw: 1 / 0, name="broken")
    runtime = flowstone_runtime(pipeline)
    with pytest.raises(fs.ExecutionError):
        runtime.materialize("+broken")
    assert runtime.lineage.downstream("raw") == []
