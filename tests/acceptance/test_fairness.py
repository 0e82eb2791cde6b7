"""A thousand sensors of which some hang, raise, flood or answer nonsense: the others are polled at their instants."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.testing import ScriptedSensor

Start = Callable[..., fs.Runtime]
SENSORS, EACH, HUNG, THREADS = 1000, 40, 12, 8
EVERY, POLLS = 10, 3


class Healthy(fs.Sensor):
    """Notes when it is polled."""

    def __init__(self, clock: ManualClock, polled: list[float]) -> None:
        self.clock = clock
        self.polled = polled

    def poll(self, state: Any) -> fs.NoTrigger:
        self.polled.append(self.clock.monotonic())
        return fs.NoTrigger()


class Ill(ScriptedSensor):
    """Gives the same outcome each time."""

    def __init__(self, outcome: Any) -> None:
        super().__init__()
        self.outcome = outcome

    def poll(self, state: Any) -> Any:
        self.set_next(self.outcome)
        return super().poll(state)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets what hangs go when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_ill_sensors_change_no_gap_of_the_others(
    flowstone_runtime: Start, flowstone_clock: ManualClock, release: threading.Event
) -> None:
    ill = {
        "hangs": release,
        "raises": ValueError("boom"),
        "floods": fs.Trigger(*[fs.RunRequest("raw", number) for number in range(5)]),
        "nonsense": object(),
    }
    shop, polled = fs.Pipeline("shop"), defaultdict[int, list[float]](list)
    shop.asset(lambda context: 1, name="raw")
    for kind, outcome in ill.items():
        for number in range(HUNG if kind == "hangs" else EACH):
            shop.sensor(f"{kind}-{number}", Ill(outcome), every=EVERY, target="raw", timeout=4, max_abandoned=1)
    for number in range(healthy := SENSORS - len(shop.sensors)):
        shop.sensor(f"healthy-{number}", Healthy(flowstone_clock, polled[number]), every=EVERY, target="raw")
    began = flowstone_clock.monotonic()
    runtime = flowstone_runtime(shop, max_concurrency=THREADS, scheduler=False)
    flowstone_clock.advance(EVERY * POLLS)
    wanted = [began + EVERY * poll for poll in range(1, POLLS + 1)]
    assert {tuple(instants) for instants in polled.values()} == {tuple(wanted)}
    assert len(polled) == healthy
    first = [runtime.sensors.history(f"{kind}-0")[-1] for kind in ill]
    told = ["timeout", "exception:ValueError", None, "bad_answer"]
    assert [row.reason_code for row in first] == told
    assert len([part for part in runtime.health().problems if part.kind == "sensor"]) == HUNG
