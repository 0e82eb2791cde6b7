"""Whoever waits for a run gets the live exceptions of its assets, at whatever moment the run ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Semaphore
from typing import Any

import pytest

import flowstone as fs
from actors.backends.futures import Future
from actors.testing import crash
from flowstone.errors import ExecutionError
from flowstone.runs.waiters import REMEMBERED, RunLeft, Waiters

Start = Callable[..., fs.Runtime]


def failed() -> ExecutionError:
    """An error whose cause was raised where something large was at hand."""

    def call() -> None:
        large = [0] * 1000
        raise ValueError(f"no such day among {len(large)}")

    try:
        call()
    except ValueError as cause:
        error = ExecutionError("it failed")
        error.__cause__ = cause
        return error
    raise AssertionError


def values_in(error: BaseException) -> dict[str, Any]:
    """What the innermost frame of an exception's cause holds."""
    assert error.__cause__ is not None
    trace = error.__cause__.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    return trace.tb_frame.f_locals


def test_an_exception_is_known_from_before_the_end_until_somebody_heard_of_it() -> None:
    waiters, error, future = Waiters(), failed(), Future[RunLeft]()
    waiters.note("run", "raw", error)
    assert waiters.errors("run") == {"raw": error}
    waiters.add("run", future)
    waiters.tell(RunLeft("run", {"raw": error}))
    assert future.get(timeout=0).errors == {"raw": error}
    assert waiters.errors("run") == {}
    assert "large" in values_in(error)


def test_one_that_nobody_heard_of_is_kept_without_what_its_frames_hold() -> None:
    waiters, error = Waiters(), failed()
    waiters.note("run", "raw", error)
    waiters.tell(RunLeft("run", {"raw": error}))
    assert waiters.errors("run") == {"raw": error}
    assert "large" not in values_in(error)


def test_only_so_many_are_kept() -> None:
    waiters = Waiters()
    for number in range(REMEMBERED + 1):
        waiters.note(f"run-{number}", "raw", ExecutionError("it failed"))
    assert waiters.errors("run-0") == {}
    assert set(waiters.errors(f"run-{REMEMBERED}")) == {"raw"}


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_who_asks_after_the_end_gets_the_users_exception_too(flowstone_runtime: Start, backend: str) -> None:
    shop = fs.Pipeline("shop")

    @shop.asset
    def broken(context: fs.Context) -> None:
        raise ValueError("no such day")

    runtime = flowstone_runtime(shop, backend=backend)
    handle = runtime.materialize_async("broken")
    runtime.drain()
    with pytest.raises(fs.ExecutionError) as raised:
        handle.result()
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
@pytest.mark.parametrize("gives_up", [False, True])
def test_nobody_waits_for_a_runtime_that_has_ended(
    monkeypatch: pytest.MonkeyPatch, backend: str, gives_up: bool
) -> None:
    shop, begun, release, waiting = fs.Pipeline("shop"), Event(), Event(), Semaphore(0)

    @shop.asset(concurrency=1)
    def slow(context: fs.Context) -> None:
        begun.set()
        release.wait(20)

    def noted(self: Waiters, run_id: str, future: Future[RunLeft]) -> None:
        add(self, run_id, future)
        waiting.release()

    add = Waiters.add
    runtime = fs.Runtime(shop, store="memory://", backend=backend).start()
    with ThreadPoolExecutor() as pool:
        handles = [runtime.materialize_async("slow", partition=number) for number in (1, 2)]
        assert begun.wait(20)
        backfill = runtime.backfills.start("slow", [3, 4])
        monkeypatch.setattr(Waiters, "add", noted)
        told = [pool.submit(handle.result) for handle in handles]
        told += [pool.submit(runtime.backfills.wait, backfill.id), pool.submit(runtime.drain)]
        for _ in range(3):
            assert waiting.acquire(timeout=20)
        if gives_up:
            crash(runtime.actor())
        else:
            runtime.stop(timeout=0.1)
        for future in told[:3]:
            with pytest.raises(fs.RuntimeStopped):
                future.result(timeout=20)
        release.set()
        runtime.stop()
        with pytest.raises(fs.RuntimeStopped):
            told[3].result(timeout=20)


def test_an_end_that_is_read_before_it_is_told_has_the_users_exception(
    flowstone_runtime: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, read = fs.Pipeline("shop"), Lock()
    read.acquire()

    @shop.asset
    def broken(context: fs.Context) -> None:
        raise ValueError("no such day")

    def later(self: Waiters, left: RunLeft) -> None:
        # Whoever waits looks again, as when another process has written something, and this is told afterwards.
        if left.errors:
            told(self, RunLeft(left.run_id))
            read.acquire(timeout=20)
        told(self, left)

    told = Waiters.tell
    monkeypatch.setattr(Waiters, "tell", later)
    runtime = flowstone_runtime(shop, backend="threads")
    with pytest.raises(fs.ExecutionError) as raised:
        runtime.materialize("broken")
    read.release()
    assert isinstance(raised.value.__cause__, ValueError)
