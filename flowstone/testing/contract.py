"""The contract of sensors: what a runtime relies on, as a suite that any sensor can be run through.

    def test_my_sensor_keeps_the_contract(tmp_path):
        sensor_contract(lambda: MySensor(tmp_path), MyWorld(tmp_path))

The world is what the sensor looks at. Things arrive in it, and it may fail.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from flowstone.config import Config
from flowstone.errors import ValidationError
from flowstone.pipeline import Pipeline
from flowstone.runtime import Runtime
from flowstone.sensors.around import Around
from flowstone.sensors.cursor import read_state, write_state
from flowstone.sensors.rows import EvaluationStatus
from flowstone.sensors.sensor import Sensor

__all__ = ["SOURCE", "World", "sensor_contract"]

SOURCE = "contract_source"
"""An asset that worlds may materialize."""

_TARGET = "contract_target"
_NAME = "contract"
_MOST_POLLS = 1000


class World(Protocol):
    """What a sensor looks at.

    A world may have a method `failing()` too, a context manager within which the sensor can't look.
    """

    def arrive(self, runtime: Any, count: int) -> int | None:
        """Let so many things arrive; how many requests that is worth, None for as many.

        A world that shows only the newest of them says 1. Things pushed are pushed by `runtime.sensors.push`, to the
        sensor `contract`.
        """


def sensor_contract(sensor: Sensor | Callable[[], Sensor], world: World, *, burst: int = 200) -> None:
    """Nothing, when the sensor keeps all rules; `sensor` may be a function that makes one, for each start anew.

    1. `init` gives a state that survives its stored form, and the first polls come to rest.
    2. What arrives is requested exactly once, and a poll after it asks for nothing.
    3. An answer that was lost before its commit loses nothing.
    4. What arrives just before a restart is requested once, and nothing from before it is requested again. A sensor
       that is pushed to, or woken by what arrives, may have requested it before the stop, others do after the start.
    5. While the world fails, evaluations are errors that leave the cursor; what arrives meanwhile is requested after.
    6. Of a burst, nothing is left out.

    Raises:
        AssertionError: a rule is broken; the text says which.
    """
    make = _maker(sensor)
    _first_state_is_json(make())
    with tempfile.TemporaryDirectory(prefix="flowstone-contract-") as folder:
        with _running(make, folder) as watch:
            watch.requested()
            watch.expect("what arrives is requested once", watch.arrive(world, 1))
            watch.expect("a poll after it asks for nothing", 0)
            awaited = watch.arrive(world, 1)
            watch.lose_an_answer()
            watch.expect("an answer that was lost loses nothing", awaited)
            awaited = watch.arrive(world, 2)
        with _running(make, folder, counted=watch.counted) as watch:
            watch.expect("what arrived before a restart is requested by then or after it, once", awaited)
            if hasattr(world, "failing"):
                watch.fails(world)
            watch.expect("of a burst nothing is left out", watch.arrive(world, burst))
            watch.expect("after a burst there is rest", 0)


class _Watch:
    """A runtime with the one sensor, and how many of its requests are `counted` so far."""

    def __init__(self, runtime: Runtime, sensor: Sensor, counted: int) -> None:
        self.runtime = runtime
        self.sensor = sensor
        self.counted = counted

    def arrive(self, world: World, count: int) -> int:
        worth = world.arrive(self.runtime, count)
        return count if worth is None else worth

    def requested(self) -> int:
        """Requests since this was asked last, after as many polls as it takes to come to rest."""
        for _ in range(_MOST_POLLS):
            evaluation = self.runtime.sensors.poll(_NAME)
            assert evaluation.status is not EvaluationStatus.ERROR, f"a poll failed: {evaluation.reason}"
            if evaluation.status is not EvaluationStatus.TRIGGERED and self._is_at_rest():
                break
        else:
            raise AssertionError(f"the sensor came to no rest within {_MOST_POLLS} polls")
        before, self.counted = self.counted, self._total()
        return self.counted - before

    def expect(self, rule: str, count: int) -> None:
        found = self.requested()
        assert found == count, f"{rule}: expected {count} requests, got {found}"

    def lose_an_answer(self) -> None:
        """Poll, and commit nothing."""
        cursor = self.runtime.sensors.get(_NAME).cursor_text
        assert cursor is not None, "the sensor has no first state"
        # As the actor of a sensor polls it, which is not of the public face.
        around = Around(self.runtime._services, self.runtime.sensors.definition(_NAME))
        self.sensor.within(around).poll(read_state(self.sensor, cursor))

    def fails(self, world: Any) -> None:
        before = self.runtime.sensors.get(_NAME).cursor_text
        with world.failing():
            evaluation = self.runtime.sensors.poll(_NAME)
        found = f"got {evaluation.status}"
        assert evaluation.status is EvaluationStatus.ERROR, f"a world that fails makes an error, {found}"
        assert self.runtime.sensors.get(_NAME).cursor_text == before, "an error leaves the cursor as it is"
        self.expect("what arrived around a failure is requested", self.arrive(world, 1))

    def _is_at_rest(self) -> bool:
        newest = self.runtime.sensors.history(_NAME, limit=2)
        return len(newest) > 1 and newest[1].status is not EvaluationStatus.TRIGGERED

    def _total(self) -> int:
        total, cursor = 0, None
        while True:
            page = self.runtime.sensors.history(_NAME, cursor=cursor)
            total += sum(row.request_count for row in page)
            if (cursor := page.next_cursor) is None:
                return total


def _maker(sensor: Sensor | Callable[[], Sensor]) -> Callable[[], Sensor]:
    if isinstance(sensor, Sensor):
        given = sensor
        return lambda: given
    return sensor


def _first_state_is_json(sensor: Sensor) -> None:
    try:
        write_state(sensor, sensor.init())
    except ValidationError as error:
        raise AssertionError(f"the first state survives its stored form: {error}") from error


@contextmanager
def _running(make: Callable[[], Sensor], folder: str, counted: int = 0) -> Iterator[_Watch]:
    pipeline = Pipeline("contract")
    for name in (SOURCE, _TARGET):
        pipeline.asset(lambda context: None, name=name)
    sensor = make()
    pipeline.sensor(_NAME, sensor, target=_TARGET, partition=lambda given: None)
    store = f"sqlite:///{Path(folder, 'store.db')}"
    runtime: AbstractContextManager[Runtime] = Runtime(pipeline, store=store, config=Config())
    with runtime as running:
        yield _Watch(running, sensor, counted)
