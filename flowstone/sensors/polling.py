"""The one place that calls a sensor's code; run by an executor, never by an actor."""

import inspect
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from flowstone.core.run import RunRequest
from flowstone.sensors.sensor import Arrival, Item, Sensor, Trigger
from flowstone.sensors.spec import SensorSpec

__all__ = ["call_cleanup", "call_init", "call_name", "call_poll", "has_cleanup"]


def call_name(spec: SensorSpec) -> str:
    """What calls of `init` and `poll` are called where executors show them."""
    return f"sensor {spec.name}"


def call_init(spec: SensorSpec) -> Any:
    """The sensor's first state, or the coroutine that gives it."""
    return spec.sensor.init()


def call_poll(spec: SensorSpec, state: Any) -> Any:
    """The sensor's answer with partitions made by the definition's function, or the coroutine that gives it."""
    answer = spec.sensor.poll(state)
    return _awaited(spec, answer) if inspect.isawaitable(answer) else _partitioned(spec, answer)


def call_cleanup(spec: SensorSpec, state: Any) -> Any:
    """None, or the coroutine that cleans up."""
    return spec.sensor.cleanup(state)


def has_cleanup(spec: SensorSpec) -> bool:
    """Whether the sensor's class has a cleanup of its own."""
    return type(spec.sensor).cleanup is not Sensor.cleanup


async def _awaited(spec: SensorSpec, answer: Awaitable[Any]) -> Any:
    return _partitioned(spec, await answer)


def _partitioned(spec: SensorSpec, answer: Any) -> Any:
    if spec.partition is None or not isinstance(answer, Trigger):
        return answer
    return Trigger(*(_item(spec, item) for item in answer.items), state=answer.state, seen=answer.seen)


def _item(spec: SensorSpec, item: Item) -> Item:
    if spec.partition is None or isinstance(item, RunRequest):
        return item
    if isinstance(item, Arrival):
        return replace(item, partition=spec.partition(item.partition))
    return spec.partition(item)
