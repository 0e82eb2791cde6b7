"""The one place that calls a sensor's code; run by an executor, never by an actor."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from flowstone.core.run import RunRequest
from flowstone.sensors.builtin.push import Push
from flowstone.sensors.sensor import Arrival, Item, Sensor, Trigger
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.surroundings import ALONE, Surroundings

__all__ = [
    "call_cleanup",
    "call_init",
    "call_name",
    "call_poll",
    "call_receive",
    "has_cleanup",
    "is_call_of",
    "push_name",
]


def call_name(spec: SensorSpec) -> str:
    """What calls of `init` and `poll` are called where executors show them."""
    return f"sensor {spec.name}"


def push_name(spec: SensorSpec) -> str:
    """What calls of `receive` are called where executors show them."""
    return f"sensor {spec.name} push"


def is_call_of(sensor: str, name: str) -> bool:
    """Whether a call of this name runs code of the sensor: its polls, its messages, its callback, its cleanup.

    >>> is_call_of("orders", "sensor orders push"), is_call_of("orders", "sensor orders.old")
    (True, False)
    """
    return name == f"sensor {sensor}" or name.startswith(f"sensor {sensor} ")


def call_init(spec: SensorSpec, surroundings: Surroundings = ALONE) -> Any:
    """The sensor's first state, or the coroutine that gives it."""
    return spec.sensor.within(surroundings).init()


def call_poll(spec: SensorSpec, state: Any, surroundings: Surroundings = ALONE) -> Any:
    """The sensor's answer with partitions made by the definition's function, or the coroutine that gives it."""

    def finished(item: Item) -> Item:
        if spec.partition is None or isinstance(item, RunRequest):
            return item
        if isinstance(item, Arrival):
            return replace(item, partition=spec.partition(item.partition))
        return spec.partition(item)

    return _mapped(spec.sensor.within(surroundings).poll(state), finished)


def call_receive(spec: SensorSpec, sensor: Push, message: Any) -> Any:
    """The sensor's answer to a message, which is the payload of what has none; or the coroutine that gives it."""

    def finished(item: Item) -> Item:
        if isinstance(item, RunRequest):
            return item
        arrival = item if isinstance(item, Arrival) else Arrival(item)
        partition = arrival.partition if spec.partition is None else spec.partition(message)
        return replace(arrival, partition=partition, payload=message if arrival.payload is None else arrival.payload)

    return _mapped(sensor.receive(message), finished)


def call_cleanup(spec: SensorSpec, state: Any) -> Any:
    """None, or the coroutine that cleans up."""
    return spec.sensor.cleanup(state)


def has_cleanup(spec: SensorSpec) -> bool:
    """Whether the sensor's class has a cleanup of its own."""
    return type(spec.sensor).cleanup is not Sensor.cleanup


def _mapped(answer: Any, finished: Callable[[Item], Item]) -> Any:
    if inspect.isawaitable(answer):
        return _awaited(answer, finished)
    if not isinstance(answer, Trigger):
        return answer
    return Trigger(*map(finished, answer.items), state=answer.state, seen=answer.seen, again=answer.again)


async def _awaited(answer: Awaitable[Any], finished: Callable[[Item], Item]) -> Any:
    return _mapped(await answer, finished)
