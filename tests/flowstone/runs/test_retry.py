"""Runs asked for again, values said to be invalid, and rows that stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest
from flowstone.testing import ScriptedSensor

Make = Callable[..., fs.Runtime]


# The store comes first, so that it goes last.
@pytest.fixture
def start(store_url: str, flowstone_runtime: Make) -> Make:
    return lambda *pipelines, **more: flowstone_runtime(*pipelines, store=store_url, io_manager="memory", **more)


def shop(*, works: list[bool], seen: list[Any] | None = None) -> fs.Pipeline:
    made = fs.Pipeline("shop")

    @made.asset
    def raw(context: fs.Context) -> str:
        if seen is not None:
            seen.append((context.trigger.kind, context.trigger.payload, context.trigger.key))
        if not works:
            raise ValueError("no source")
        return context.run_id

    made.asset(lambda context, raw: raw, name="report")
    return made


def test_a_retry_is_a_new_run_under_a_key_of_its_own(start: Make) -> None:
    works: list[bool] = []
    runtime = start(shop(works=works))
    with pytest.raises(fs.ExecutionError):
        runtime.materialize("*", partition="x", tags={"why": "test"}, priority=7)
    [failed] = runtime.runs.list(status="failed")
    works.append(True)
    for number in (1, 2):
        again = runtime.runs.retry(failed.run_id, by="ann")
        assert (again.run_key, again.retry_of) == (f"retry:{failed.run_id}:{number}", failed.run_id)
        assert (again.asset, again.partition, again.tags, again.priority) == ("*", "x", {"why": "test"}, 7)
        runtime.drain(timeout=20)
        assert runtime.runs.get(again.run_id).status == "success"
    assert runtime.runs.get(failed.run_id).status == "failed"
    assert [(row.actor, row.resource) for row in runtime.audit.list(event_type="run.retried")] == [
        ("ann", f"run:{failed.run_id}")
    ] * 2


def test_a_retry_is_told_what_caused_the_first_one(start: Make) -> None:
    works: list[bool] = []
    seen: list[Any] = []
    pipeline, sensor = shop(works=works, seen=seen), ScriptedSensor()
    pipeline.sensor("files", sensor, every=None, target="raw")
    runtime = start(pipeline)
    sensor.set_next(fs.Trigger(fs.Arrival("x", payload={"size": 3})))
    runtime.sensors.poll("files", timeout=20)
    runtime.drain(timeout=20)
    [run] = runtime.runs.list()
    works.append(True)
    again = runtime.runs.retry(run.run_id)
    runtime.drain(timeout=20)
    assert [(kind, payload) for kind, payload, _ in seen] == [("sensor", {"size": 3})] * 2
    assert seen[1][2] == again.run_key
    assert runtime.runs.get(again.run_id).status == "success"


def test_what_has_not_finished_or_is_unknown_is_not_retried(start: Make) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: fs.WaitForApproval("ok?"), name="asks")
    runtime = start(pipeline)
    handle = runtime.materialize_async("asks")
    runtime.drain(timeout=20)
    with pytest.raises(fs.ValidationError, match="finished, got: run_.* which is waiting_approval"):
        runtime.runs.retry(handle.run_id)
    handle.cancel()
    assert runtime.runs.retry(handle.run_id).retry_of == handle.run_id
    with pytest.raises(fs.RunNotFound):
        runtime.runs.retry("run_nope")


def test_a_value_that_was_invalidated_is_not_there_until_it_is_made_again(start: Make) -> None:
    runtime = start(shop(works=[True]))
    runtime.materialize("raw", partition="x")
    kept = runtime.materialize("raw", partition="y").run_id
    assert runtime.invalidate("raw", partition="x", by="ann", reason="wrong source")
    assert not runtime.exists("raw", partition="x")
    with pytest.raises(fs.ValueNotFound):
        runtime.get("raw", partition="x")
    assert runtime.get("raw", partition="y") == kept
    assert not runtime.invalidate("raw", partition="x")
    with pytest.raises(fs.DependencyNotReady):
        runtime.materialize("report", partition="x")
    assert {row.status for row in runtime.materializations.list(asset="raw")} == {"success"}
    again = runtime.materialize("raw", partition="x").run_id
    assert runtime.get("raw", partition="x") == again
    [row] = runtime.audit.list(event_type="asset.invalidated")
    assert (row.actor, row.resource, row.details) == ("ann", "asset:raw", {"partition": "x", "reason": "wrong source"})


def test_an_invalidation_of_what_is_not_defined_is_refused(flowstone_runtime: Make) -> None:
    runtime = flowstone_runtime(shop(works=[True]))
    assert not runtime.invalidate("raw")
    with pytest.raises(fs.AssetNotFound, match="did you mean 'raw'"):
        runtime.invalidate("rew")
    with pytest.raises(fs.PartitionError):
        runtime.invalidate("raw", partition=1.5)


def test_a_skip_makes_what_depends_on_it_skipped(start: Make) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: fs.Skip("a holiday"), name="raw")
    pipeline.asset(lambda context, raw: raw, name="report")
    pipeline.asset(lambda context: 1, name="aside")
    runtime = start(pipeline)
    made = runtime.materialize_async("*")
    made.result(timeout=20)
    rows = {row.asset: (row.status, row.reason) for row in runtime.runs.get(made.run_id).materializations}
    assert rows == {
        "raw": ("skipped", "a holiday"),
        "report": ("skipped", "raw has no value"),
        "aside": ("success", None),
    }


def test_a_failed_closure_raises_with_the_records_of_the_rest(start: Make) -> None:
    pipeline = shop(works=[])
    pipeline.asset(lambda context: 1, name="aside")
    pipeline.asset(lambda context, report, aside: 1, name="all")
    with pytest.raises(fs.ExecutionError, match="no source") as caught:
        start(pipeline).materialize_all("all")
    records = caught.value.context["records"]
    assert {name: record.status for name, record in records.items()} == {
        "raw": "failed",
        "report": "skipped",
        "aside": "success",
        "all": "skipped",
    }
