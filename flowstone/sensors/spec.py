"""A sensor's definition: the sensor, how often it is polled, what it triggers; everything checked at construction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowstone import durations
from flowstone.core.asset import Asset
from flowstone.core.keywords import check_keywords
from flowstone.core.location import caller
from flowstone.core.names import check_name
from flowstone.core.partitions import Partition
from flowstone.errors import ValidationError, shown
from flowstone.sensors.configuration import describe, import_path
from flowstone.sensors.sensor import Sensor
from flowstone.state.fields import json_text

__all__ = ["OPTIONS", "SHORTEST_INTERVAL", "SensorSpec"]

OPTIONS = ("every", "target", "partition", "timeout", "break_after", "max_abandoned")
"""What `SensorSpec(name, sensor, …)` takes after the sensor."""

SHORTEST_INTERVAL = 0.001
"""Seconds."""

PartitionFunction = Callable[[Any], Partition]


@dataclass(frozen=True, slots=True, init=False)
class SensorSpec:
    """A sensor under a name.

    Options, durations as everywhere:

    - `every` (None): from poll to poll, at least 1 ms; None polls by hand only
    - `target` (the sensor's name): the asset or selection that is run for each partition
    - `partition` (None): makes the target's partition of each one that the sensor answers
    - `timeout` ("60s"): after which a poll is given up
    - `break_after` (20): failures in a row after which the sensor is broken
    - `max_abandoned` (2): polls that were given up and still occupy a thread; that many make it broken

    Raises:
        ValidationError: a bad name, an unknown keyword or a bad option, or `sensor` is not a Sensor.
    """

    name: str
    sensor: Sensor
    every: float | None
    target: str
    partition: PartitionFunction | None
    timeout: float
    break_after: int
    max_abandoned: int
    location: str = field(compare=False)

    def __init__(self, name: str, sensor: Sensor, **options: Any) -> None:
        check_keywords("sensor", options, OPTIONS)
        check_name("sensor", name)
        every = options.get("every")
        values = {
            "name": name,
            "sensor": _checked_sensor(name, sensor),
            "every": None if every is None else durations.seconds(every, "every", minimum=SHORTEST_INTERVAL),
            "target": _target(name, options.get("target")),
            "partition": _partition(options.get("partition")),
            "timeout": durations.seconds(options.get("timeout", 60.0), "timeout", minimum=SHORTEST_INTERVAL),
            "break_after": _count(options.get("break_after", 20), "break_after"),
            "max_abandoned": _count(options.get("max_abandoned", 2), "max_abandoned"),
            "location": caller(),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def type(self) -> type[Sensor]:
        """The sensor's class."""
        return type(self.sensor)

    @property
    def poll_interval(self) -> float | None:
        """Seconds from poll to poll; None for a sensor that is only polled by hand."""
        return self.every

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's parameters as JSON, secrets masked."""
        return describe(self.sensor)

    def definition(self) -> str:
        """A hash of all that defines the sensor; the same in every process, and blind to secrets."""
        defined = {
            "type": import_path(self.type),
            "config": self.config,
            "every": self.every,
            "target": self.target,
            "partition": None if self.partition is None else import_path(self.partition),
            "timeout": self.timeout,
            "break_after": self.break_after,
            "max_abandoned": self.max_abandoned,
        }
        return hashlib.sha256(json_text(defined).encode("utf-8", "backslashreplace")).hexdigest()


def _checked_sensor(name: str, sensor: object) -> Sensor:
    if isinstance(sensor, Sensor):
        return sensor
    hint = f"; make one: {sensor.__name__}(…)" if isinstance(sensor, type) and issubclass(sensor, Sensor) else ""
    raise ValidationError(f"expected sensor {name!r} to be a Sensor, got: {shown(sensor)}{hint}", name=name)


def _target(name: str, target: object) -> str:
    if target is None:
        return name
    if isinstance(target, Asset):
        return target.name
    if not isinstance(target, str) or not target.strip():
        message = f"expected target of sensor {name!r} to be an asset or a selection, got: {shown(target)}"
        raise ValidationError(message, option="target")
    return target


def _partition(function: object) -> PartitionFunction | None:
    if function is not None and not callable(function):
        raise ValidationError(f"expected partition to be callable, got: {shown(function)}", option="partition")
    return function


def _count(value: object, option: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"expected {option} to be an int of at least 1, got: {shown(value)}", option=option)
    return value
