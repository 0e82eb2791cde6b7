"""Limits of assets and pools: never more at once than they let, never less when there is work, and a word about why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.errors import ValidationError
from flowstone.runs.limits import Limits, Slots
from flowstone.state.database import Database

Make = Callable[..., fs.Runtime]


class Gate:
    """Functions that wait to be let through, and how many were inside at once."""

    def __init__(self) -> None:
        self.inside: set[str] = set()
        self.most = 0
        self._changed = threading.Condition()
        self._open = 0

    def __call__(self, context: fs.Context) -> str:
        name = f"{context.asset}[{context.partition}]"
        with self._changed:
            self.inside.add(name)
            self.most = max(self.most, len(self.inside))
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._open > 0, timeout=20)
            self._open -= 1
            self.inside.discard(name)
            self._changed.notify_all()
        return name

    def wait_for(self, count: int) -> set[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.inside) == count, timeout=20), self.inside
            return set(self.inside)

    def let(self, count: int) -> None:
        with self._changed:
            self._open += count
            self._changed.notify_all()


# The store comes first, so that it goes last.
@pytest.fixture
def start(store_url: str, flowstone_runtime: Make) -> Make:
    return lambda *pipelines, **more: flowstone_runtime(*pipelines, store=store_url, io_manager="memory", **more)


def test_runs_of_a_pool_execute_as_many_at_once_as_it_holds(start: Make) -> None:
    gate, pipeline = Gate(), fs.Pipeline("shop")
    for name in ("a", "b", "c"):
        pipeline.asset(gate, name=name, pool="db")
    pipeline.asset(lambda context: 1, name="free")
    runtime = start(pipeline, pools={"db": 2})
    handles = [runtime.materialize_async(name, partition=number) for name in "abc" for number in range(2)]
    gate.wait_for(2)
    assert runtime.materialize("free").status == "success"
    assert gate.inside == gate.wait_for(2)
    gate.let(len(handles))
    assert {handle.result(timeout=20).status for handle in handles} == {"success"}
    assert gate.most == 2


def test_assets_of_one_run_wait_for_slots_of_their_pool_while_others_go_on(start: Make) -> None:
    gate, pipeline, told = Gate(), fs.Pipeline("shop"), threading.Event()
    for number in range(5):
        pipeline.asset(gate, name=f"a{number}", pool="db")
    pipeline.asset(lambda context: told.set(), name="free")
    runtime = start(pipeline, pools={"db": 3})
    handle = runtime.materialize_async("*")
    gate.wait_for(3)
    assert told.wait(20)
    gate.let(2)
    gate.wait_for(3)
    gate.let(3)
    assert handle.result(timeout=20).status == "success"
    assert gate.most == 3


def test_a_run_in_progress_gets_the_slot_that_another_one_gives_back(start: Make) -> None:
    gate, other, pipeline = Gate(), Gate(), fs.Pipeline("shop")
    pipeline.asset(gate, name="first", pool="db")
    pipeline.asset(gate, name="second", pool="db")
    pipeline.asset(other, name="slow")
    runtime = start(pipeline)
    holder = runtime.materialize_async("first")
    gate.wait_for(1)
    waiting = runtime.materialize_async("second slow")
    other.wait_for(1)
    gate.let(1)
    assert holder.result(timeout=20).status == "success"
    assert gate.wait_for(1) == {"second[None]"}
    gate.let(1)
    other.let(1)
    assert waiting.result(timeout=20).status == "success"
    assert gate.most == 1


def test_an_asset_executes_as_often_at_once_as_its_concurrency_says(start: Make) -> None:
    gate, pipeline = Gate(), fs.Pipeline("shop")
    pipeline.asset(gate, name="report", concurrency=2)
    runtime = start(pipeline)
    handles = [runtime.materialize_async("report", partition=number) for number in range(5)]
    gate.wait_for(2)
    gate.let(5)
    assert {handle.result(timeout=20).status for handle in handles} == {"success"}
    assert gate.most == 2


def test_a_slot_comes_back_when_its_run_is_cancelled_or_fails(start: Make) -> None:
    gate, pipeline = Gate(), fs.Pipeline("shop")
    pipeline.asset(gate, name="held", pool="db")
    pipeline.asset(lambda context: 1 / 0, name="broken", pool="db")
    pipeline.asset(lambda context: 1, name="next", pool="db")
    runtime = start(pipeline)
    holder = runtime.materialize_async("held")
    gate.wait_for(1)
    broken, after = runtime.materialize_async("broken"), runtime.materialize_async("next")
    holder.cancel()
    with pytest.raises(fs.ExecutionError):
        broken.result(timeout=20)
    assert after.result(timeout=20).status == "success"
    gate.let(1)


def test_higher_priorities_get_slots_first(start: Make) -> None:
    gate, pipeline, order = Gate(), fs.Pipeline("shop"), []
    pipeline.asset(lambda context: (order.append(context.partition), gate(context)), name="report", concurrency=1)
    runtime = start(pipeline)
    handles = [runtime.materialize_async("report", partition=0)]
    gate.wait_for(1)
    handles += [runtime.materialize_async("report", partition=number, priority=number) for number in (1, 3, 2)]
    gate.let(4)
    for handle in handles:
        handle.result(timeout=20)
    assert order == [0, 3, 2, 1]


def test_what_waits_for_a_slot_says_so(start: Make, flowstone_clock: ManualClock) -> None:
    gate, pipeline = Gate(), fs.Pipeline("shop")
    pipeline.asset(gate, name="report", pool="db")
    runtime = start(pipeline)
    holder = runtime.materialize_async("report", partition=1)
    gate.wait_for(1)
    waiting = runtime.materialize_async("report", partition=2)
    same = runtime.materialize_async("report", partition=1)
    assert "pool db is full: 1 of 1 in use" in str(runtime.why(waiting.run_id))
    assert f"run {holder.run_id} works on report for i:1" in str(runtime.why(same.run_id))
    flowstone_clock.advance("10m")
    [queue] = [part for part in runtime.health().parts if part.kind == "queue"]
    assert queue.status == "ok"
    gate.let(3)
    runtime.drain(timeout=20)


def test_limits_are_read_from_the_assets_and_sizes() -> None:
    limited = Asset(lambda context: 1, name="a", pool="db", concurrency=2)
    catalog = Catalog([limited, Asset(lambda context: 1, name="b")])
    limits = Limits.of(catalog, {})
    assert [(limit.name, limit.size) for limit in limits.of_asset["a"]] == [("pool db", 1), ("asset a", 2)]
    assert not limits.concern(["b"])
    assert limits.concern(["b", "a"])


@pytest.mark.parametrize(
    ("pools", "match"),
    [
        ({"dbs": 2}, "expected pools to name pools of assets, got: 'dbs'; did you mean 'db'"),
        ({"db": 0}, "expected pools.'db'. to be an int of at least 1"),
        ({"db": "2"}, "expected pools.'db'. to be an int of at least 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(flowstone_runtime: Make, pools: Any, match: str) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: 1, name="a", pool="db")
    with pytest.raises(ValidationError, match=match):
        flowstone_runtime(pipeline, pools=pools)


def test_slots_are_counted_once_in_a_transaction_and_taken_from_the_count() -> None:
    catalog = Catalog([Asset(lambda context: 1, name=name, pool="db") for name in "ab"])
    with Database.open("memory://") as database:
        slots = database.read(lambda connection: Slots(connection, Limits.of(catalog, {"db": 2})))
        taken = database.read(lambda connection: [slots.take(name) for name in "aba"])
    assert taken == [True, True, False]
    assert slots.full("a") is not None
