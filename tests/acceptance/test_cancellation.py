"""A run is cancelled in whatever state it is: queued, running, waiting for a pause, a dependency or people."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import flowstone as fs
from actors.testing import ManualClock

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
WAIT = 20


class Shop:
    """A call that waits to be let go, one that always fails, one that asks, and what depends on each."""

    def __init__(self) -> None:
        self.begun, self.gate, self.calls = threading.Event(), threading.Event(), 0
        self.pipeline = fs.Pipeline("shop")
        self.pipeline.asset(self.slow, name="slow")
        self.pipeline.asset(self.fails, name="fails", retry=fs.RetryPolicy(max_attempts=3, on=(ValueError,)))
        self.pipeline.asset(lambda context: fs.WaitForApproval("ok?"), name="asks")
        for name in ("slow", "fails", "asks"):
            self.pipeline.asset(lambda context, deps: 1, name=f"of_{name}", depends_on=[name])

    def slow(self, context: Any) -> int:
        """Comes back when it is let go."""
        self.calls += 1
        self.begun.set()
        assert self.gate.wait(WAIT)
        return 1

    def fails(self, context: Any) -> None:
        """Never works."""
        raise ValueError("not yet")


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.gate.set()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture(params=["sqlite", "postgresql"])
def runtime(
    request: pytest.FixtureRequest, shop: Shop, clock: ManualClock, make_store_url: Callable[[str], str]
) -> Iterator[fs.Runtime]:
    options: dict[str, Any] = {"io_manager": "memory", "max_concurrency": 1, "clock": clock}
    with fs.Runtime(shop.pipeline, store=make_store_url(request.param), **options) as running:
        yield running
        shop.gate.set()


def cancelled(runtime: fs.Runtime, handle: Any) -> set[str]:
    """The statuses of the assets of a run, once somebody has cancelled it."""
    assert runtime.runs.cancel(handle.run_id, by="ann")
    assert not runtime.runs.cancel(handle.run_id, by="bob")
    with pytest.raises(fs.ExecutionError, match="was cancelled"):
        handle.result(timeout=WAIT)
    run = runtime.runs.get(handle.run_id)
    assert run.status == "cancelled" and run.completed_at == runtime.runs.get(handle.run_id).completed_at
    (row,) = runtime.audit.list(event_type="run.cancelled", resource=f"run:{handle.run_id}")
    assert row.actor == "ann"
    return {made.status.value for made in run.materializations}


def test_a_queued_run_is_cancelled_and_never_called(runtime: fs.Runtime, shop: Shop) -> None:
    holder = runtime.materialize_async("slow", partition="a")
    assert shop.begun.wait(WAIT)
    queued = runtime.materialize_async("+of_slow", partition="b")
    assert queued.status == "queued"
    assert cancelled(runtime, queued) == {"cancelled"}
    shop.gate.set()
    assert holder.result(timeout=WAIT).status == "success"
    runtime.drain(timeout=WAIT)
    assert shop.calls == 1


def test_a_running_run_is_cancelled_at_once_and_what_its_call_gives_is_dropped(
    runtime: fs.Runtime, shop: Shop
) -> None:
    running = runtime.materialize_async("+of_slow", partition="a")
    assert shop.begun.wait(WAIT)
    assert running.status == "running"
    assert cancelled(runtime, running) == {"cancelled"}
    shop.gate.set()
    runtime.drain(timeout=WAIT)
    assert not runtime.exists("slow", "a")
    assert runtime.materialize("slow", partition="a").value == 1


def test_what_waits_for_a_thread_is_not_called_any_more_when_its_run_is_cancelled(
    make_store_url: Callable[[str], str],
) -> None:
    pipeline, begun, gate, calls = fs.Pipeline("fan"), threading.Event(), threading.Event(), list[str]()

    def slow(context: fs.Context) -> None:
        calls.append(context.asset)
        begun.set()
        assert gate.wait(WAIT)

    for number in range(20):
        pipeline.asset(slow, name=f"part_{number}")
    with fs.Runtime(pipeline, store=make_store_url("sqlite"), io_manager="memory", max_concurrency=1) as running:
        handle = running.materialize_async("*")
        assert begun.wait(WAIT)
        assert handle.cancel()
        gate.set()
        running.drain(timeout=WAIT)
        after = running.materialize_async("part_0", force=True)
        after.result(timeout=WAIT)
    assert len(calls) == 2


class Endless:
    """A coroutine that never ends by itself."""

    def __init__(self, **options: Any) -> None:
        self.begun, self.swept = threading.Semaphore(0), threading.Semaphore(0)
        self.pipeline = fs.Pipeline("shop")
        self.pipeline.asset(self.endless, name="endless", **options)

    async def endless(self, context: fs.Context) -> None:
        """Waits for nothing, and sweeps up when it is cancelled."""
        self.begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            self.swept.release()


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_a_coroutine_is_cancelled_with_its_run_and_frees_its_partition(backend: str) -> None:
    shop = Endless()
    with fs.Runtime(shop.pipeline, store="memory://", backend=backend) as running:
        for _ in range(2):
            handle = running.materialize_async("endless")
            assert shop.begun.acquire(timeout=WAIT)
            assert handle.cancel()
            with pytest.raises(fs.ExecutionError, match="was cancelled"):
                handle.result(timeout=WAIT)
            assert shop.swept.acquire(timeout=WAIT)
        running.drain(timeout=WAIT)


def test_a_coroutine_that_outlasts_its_timeout_is_cancelled_and_tried_again(clock: ManualClock) -> None:
    shop = Endless(timeout=5, retry=fs.RetryPolicy(max_attempts=2, base=1))
    with fs.Runtime(shop.pipeline, store="memory://", clock=clock) as running:
        handle = running.materialize_async("endless")
        for _ in range(2):
            assert shop.begun.acquire(timeout=WAIT)
            clock.advance(5)
            assert shop.swept.acquire(timeout=WAIT)
            running.drain(timeout=WAIT)
            clock.advance(2)
        with pytest.raises(fs.TimeoutExceeded, match="its timeout"):
            handle.result(timeout=WAIT)
        assert running.runs.get(handle.run_id).attempt == 2


def test_a_run_that_waits_for_its_next_attempt_is_cancelled(runtime: fs.Runtime, clock: ManualClock) -> None:
    waiting = runtime.materialize_async("+of_fails")
    runtime.drain(timeout=WAIT)
    assert waiting.status not in ("failed", "success")
    assert cancelled(runtime, waiting) == {"cancelled"}
    clock.advance("1h")
    runtime.drain(timeout=WAIT)
    assert waiting.status == "cancelled"


def test_a_run_that_waits_for_a_dependency_is_cancelled(runtime: fs.Runtime, clock: ManualClock) -> None:
    waiting = runtime.materialize_async("of_slow")
    runtime.drain(timeout=WAIT)
    assert "slow has no value" in str(runtime.why(waiting.run_id))
    assert cancelled(runtime, waiting) == {"cancelled"}
    clock.advance("2h")
    runtime.drain(timeout=WAIT)
    assert waiting.status == "cancelled"


def test_a_run_that_waits_for_people_is_cancelled_and_its_question_withdrawn(runtime: fs.Runtime) -> None:
    waiting = runtime.materialize_async("+of_asks")
    runtime.drain(timeout=WAIT)
    (question,) = runtime.approvals.list_pending()
    assert waiting.status == "waiting_approval"
    assert cancelled(runtime, waiting) == {"cancelled"}
    assert runtime.approvals.get(question.id).status == "withdrawn"
    with pytest.raises(fs.StaleState, match="withdrawn"):
        runtime.approvals.approve(question.id, by="ann")
