"""A sensor's definition: the sensor, how often it is polled, what it triggers; everything checked at construction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flowstone import durations
from flowstone.core.asset import Asset
from flowstone.core.dedupe import FOREVER, Dedupe
from flowstone.core.keywords import check_keywords
from flowstone.core.location import caller
from flowstone.core.names import check_name
from flowstone.core.partitions import Partition
from flowstone.errors import ValidationError, shown
from flowstone.sensors.configuration import describe, import_path
from flowstone.sensors.sensor import Sensor
from flowstone.state.fields import json_text

__all__ = ["OPTIONS", "SHORTEST_INTERVAL", "SensorSpec"]

OPTIONS = ("every", "target", "on_trigger", "partition", "dedupe", "timeout", "break_after", "max_abandoned")
"""What `SensorSpec(name, sensor, …)` takes after the sensor."""

SHORTEST_INTERVAL = 0.001
"""Seconds."""

PartitionFunction = Callable[[Any], Partition]
Callback = Callable[[Any], object]
C = TypeVar("C", bound=Callback)


@dataclass(frozen=True, slots=True, init=False)
class SensorSpec:
    """A sensor under a name.

    Options, durations as everywhere:

    - `every` (None): from poll to poll, at least 1 ms; None polls by hand only
    - `target`: the asset or selection that is run for each partition
    - `on_trigger`: called with a `TriggerEvent` for each partition, at least once; may be async. With neither, the
      target is the asset of the sensor's name
    - `partition` (None): makes the partition of each one that the sensor answers, or of the message pushed
    - `dedupe` ("forever"): for how long a run key stands for the run that took it: `forever`, `until_success` (one
      that failed frees it), or `window:1d` from its request
    - `timeout` ("60s"): after which a poll is given up
    - `break_after` (20): failures in a row after which the sensor is broken
    - `max_abandoned` (2): polls that were given up and still occupy a thread; that many make it broken

    Used as a decorator, a definition takes the function as its `on_trigger`.

    Raises:
        ValidationError: a bad name, an unknown keyword or a bad option, or `sensor` is not a Sensor.
    """

    name: str
    sensor: Sensor
    every: float | None
    given_target: str | None
    on_trigger: Callback | None
    partition: PartitionFunction | None
    dedupe: Dedupe
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
            "every": None if every is None else _every(name, sensor, every),
            "given_target": _target(name, options.get("target")),
            "on_trigger": _function(options.get("on_trigger"), "on_trigger"),
            "partition": _function(options.get("partition"), "partition"),
            "dedupe": Dedupe.read(options.get("dedupe", FOREVER)),
            "timeout": durations.seconds(options.get("timeout", 60.0), "timeout", minimum=SHORTEST_INTERVAL),
            "break_after": _count(options.get("break_after", 20), "break_after"),
            "max_abandoned": _count(options.get("max_abandoned", 2), "max_abandoned"),
            "location": caller(),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __call__(self, function: C) -> C:
        """Take `function` as the callback, and return it: the definition as a decorator.

        Raises:
            ValidationError: it is not callable, or the definition has a callback already.
        """
        if self.on_trigger is not None:
            raise ValidationError(f"expected one on_trigger of sensor {self.name!r}, got another: {shown(function)}")
        # The decorator completes the definition, before anybody else sees it.
        object.__setattr__(self, "on_trigger", _function(function, "on_trigger"))
        return function

    @property
    def target(self) -> str | None:
        """What is run for each partition; None when only a callback is called."""
        return self.name if self.given_target is None and self.on_trigger is None else self.given_target

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
            "on_trigger": None if self.on_trigger is None else import_path(self.on_trigger),
            "partition": None if self.partition is None else import_path(self.partition),
            "dedupe": str(self.dedupe),
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


def _every(name: str, sensor: Sensor, every: object) -> float:
    if sensor.kind == "push":
        message = f"expected sensor {name!r} to have no every, since it is not polled, got: {shown(every)}"
        raise ValidationError(message, option="every")
    return durations.seconds(every, "every", minimum=SHORTEST_INTERVAL)


def _target(name: str, target: object) -> str | None:
    if target is None or isinstance(target, str) and target.strip():
        return target
    if isinstance(target, Asset):
        return target.name
    message = f"expected target of sensor {name!r} to be an asset or a selection, got: {shown(target)}"
    raise ValidationError(message, option="target")


def _function(function: object, option: str) -> Callable[[Any], Any] | None:
    if function is not None and not callable(function):
        raise ValidationError(f"expected {option} to be callable, got: {shown(function)}", option=option)
    return function


def _count(value: object, option: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"expected {option} to be an int of at least 1, got: {shown(value)}", option=option)
    return value
