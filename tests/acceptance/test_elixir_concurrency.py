"""The test cases of the Elixir design, many at once and for long: each test bears the name of its case."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.sensors import FileArrival, Poll
from flowstone.testing import ScriptedSensor

Make = Callable[..., fs.Runtime]
PROC = Path("/proc/self")
ROUNDS = 100
POLLS = 5
MEMORY_BOUND = 10_000_000
"""Bytes that 100 rounds may leave behind: allocators keep pages, and what a round leaked would come a hundredfold."""


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_multiple_sensors_poll_independently(
    flowstone_runtime: Make, backend: str, flowstone_clock: ManualClock
) -> None:
    shop, triggered = fs.Pipeline("shop"), []
    for number in range(1, 11):
        sensor = ScriptedSensor({"id": number})
        sensor.set_next(fs.Trigger(f"partition_{number}", state={"id": number, "seen": True}))
        shop.sensor(f"sensor_{number}", sensor, every="50ms", on_trigger=triggered.append)
    runtime = flowstone_runtime(shop, backend=backend)
    flowstone_clock.advance("500ms")
    expected = {(f"sensor_{number}", f"partition_{number}") for number in range(1, 11)}
    assert len(triggered) == 10
    assert {(event.sensor, event.partition) for event in triggered} == expected
    assert {row.state["id"] for row in runtime.sensors.list() if row.state["seen"]} == set(range(1, 11))


class Tally(fs.Sensor):
    """Counts in its state, and notes whether two of its polls were ever under way at once."""

    def __init__(self) -> None:
        self.inside = threading.Lock()
        self.overlapped = False

    def init(self) -> Any:
        return {"counter": 0}

    def poll(self, state: Any) -> fs.NoTrigger:
        if not self.inside.acquire(blocking=False):
            self.overlapped = True
            return fs.NoTrigger()
        try:
            return fs.NoTrigger(state={"counter": state["counter"] + 1})
        finally:
            self.inside.release()


@pytest.mark.concurrent
def test_sensor_state_updates_are_isolated(flowstone_runtime: Make, backend: str) -> None:
    """Fifty polls by message from five threads: fifty evaluations, none lost, none overlapping."""
    shop, sensor = fs.Pipeline("shop"), Tally()
    shop.sensor("concurrent_sensor", sensor, on_trigger=lambda event: None)
    runtime = flowstone_runtime(shop, backend=backend)
    ref = runtime.sensors.ref("concurrent_sensor")
    threads = [threading.Thread(target=lambda: [ref.tell(Poll()) for _ in range(10)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runtime.drain(timeout=30)
    history = runtime.sensors.history("concurrent_sensor")
    assert [row.state_version_after for row in history] == list(range(50, 0, -1))
    assert {row.status for row in history} == {"no_trigger"}
    assert runtime.sensors.get("concurrent_sensor").state == {"counter": 50}
    assert not sensor.overlapped


def spent(work: Callable[[], object]) -> float:
    """The least of this thread's seconds that three calls took, while nobody traced them."""
    took, tracer = [], sys.gettrace()
    sys.settrace(None)
    for _ in range(3):
        began = time.thread_time()
        work()
        took.append(time.thread_time() - began)
    sys.settrace(tracer)
    return min(took)


def test_poll_completes_within_timeout(tmp_path: Path) -> None:
    """1,000 files in 100 ms, as the design asks for S3, on its machine; on any, in so many times of a plain listing."""
    for number in range(1, 1001):
        (tmp_path / f"file_{number}.txt").touch()
    sensor = FileArrival(path=tmp_path, pattern="*.txt")
    assert len(sensor.poll(sensor.init()).items) == 1000
    poll = spent(lambda: sensor.poll(sensor.init()))
    listing = spent(lambda: [entry.stat() for entry in os.scandir(tmp_path)])
    assert poll < 25 * listing, f"a poll of 1,000 files took {poll / listing:.0f} times a plain listing"


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds: threads of the operating system, descriptors, resident bytes."""

    threads: int
    descriptors: int
    memory: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        pages = int((PROC / "statm").read_text().split()[1])
        return cls(len(os.listdir(PROC / "task")), len(os.listdir(PROC / "fd")), pages * os.sysconf("SC_PAGE_SIZE"))

    def __str__(self) -> str:
        return f"{self.threads} threads, {self.descriptors} descriptors, {self.memory / 1e6:.1f} MB"


class Frequent(fs.Sensor):
    """Says that it was polled."""

    def __init__(self) -> None:
        self.polled = threading.Semaphore(0)

    def poll(self, state: Any) -> fs.NoTrigger:
        self.polled.release()
        return fs.NoTrigger(state=(state or 0) + 1)


def one_round(backend: str) -> None:
    """Start a runtime of one sensor at 1 ms on the real clock, let it poll, stop it."""
    shop, sensor = fs.Pipeline("shop"), Frequent()
    shop.sensor("high_freq", sensor, every="1ms", on_trigger=lambda event: None)
    before = set(threading.enumerate())
    with fs.Runtime(shop, store="memory://", backend=backend) as runtime:
        for _ in range(POLLS):
            assert sensor.polled.acquire(timeout=20)
        assert runtime.sensors.ref("high_freq").is_alive()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)


@pytest.mark.skipif(not PROC.exists(), reason="what a process holds is read from /proc")
@pytest.mark.concurrent
def test_sensor_worker_handles_high_poll_frequency(backend: str) -> None:
    for _ in range(5):
        one_round(backend)
    before = Held.now()
    for _ in range(ROUNDS):
        one_round(backend)
    after = Held.now()
    print(f"\n{backend}: before {before}; after {ROUNDS} rounds {after}")
    assert after.threads <= before.threads
    assert after.descriptors <= before.descriptors
    assert after.memory - before.memory < MEMORY_BOUND
