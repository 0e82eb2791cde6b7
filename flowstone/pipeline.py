"""Pipelines: where a program gathers its assets, schedules and sensors, and checks the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.graph import Graph
from flowstone.core.names import check_name, is_name
from flowstone.errors import AssetNotFound, CycleError, FlowstoneError, ValidationError, did_you_mean, shown
from flowstone.resources.resource import check_resources
from flowstone.schedules.schedule import Schedule
from flowstone.sensors.sensor import Sensor
from flowstone.sensors.spec import SensorSpec

__all__ = ["Pipeline", "check_together"]

T = TypeVar("T", Asset, Schedule, SensorSpec)


class Pipeline:
    """A named collection of definitions, each refused where it is made when it is wrong by itself.

    `resources`, by name, are there for every runtime of the pipeline; a runtime's own come first.

    >>> shop = Pipeline("shop")
    >>> @shop.asset
    ... def raw(context): return [1, 2]
    >>> @shop.asset
    ... def total(context, raw): return sum(raw)
    >>> [asset.name for asset in shop.assets], shop.check()
    (['raw', 'total'], None)
    """

    def __init__(self, name: str, *, resources: Mapping[str, Any] | None = None) -> None:
        self.name = check_name("pipeline", name)
        self.resources = check_resources(resources or {})
        self._assets: dict[str, Asset] = {}
        self._schedules: dict[str, Schedule] = {}
        self._sensors: dict[str, SensorSpec] = {}

    @property
    def assets(self) -> list[Asset]:
        """The assets in order of definition."""
        return list(self._assets.values())

    @property
    def schedules(self) -> list[Schedule]:
        """The schedules in order of definition."""
        return list(self._schedules.values())

    @property
    def sensors(self) -> list[SensorSpec]:
        """The sensors in order of definition."""
        return list(self._sensors.values())

    @property
    def graph(self) -> Graph:
        """The assets of this pipeline as a graph: `order() upstream(asset) downstream(asset)`."""
        return Catalog(self.assets).graph

    @overload
    def asset(self, fn: Callable[..., Any], **options: Any) -> Asset: ...

    @overload
    def asset(self, fn: None = None, **options: Any) -> Callable[[Callable[..., Any]], Asset]: ...

    def asset(self, fn: Callable[..., Any] | None = None, **options: Any) -> Asset | Callable[..., Asset]:
        """Define an asset, as a decorator or a call; options as of `Asset`.

        Raises:
            ValidationError: a bad option, an unknown keyword, or a name that is taken.
        """
        if fn is None:
            return lambda function: self._put_asset(Asset(function, **options))
        return self._put_asset(Asset(fn, **options))

    def schedule(self, name: str, **options: Any) -> Schedule:
        """Define a schedule; options as of `Schedule`.

        Raises:
            CronError: a bad cron expression, interval or time zone.
            ValidationError: another bad option, an unknown keyword, or a name that is taken.
        """
        return self._put(self._schedules, "schedule", Schedule(name, **options))

    def sensor(self, name: str, sensor: Sensor, **options: Any) -> SensorSpec:
        """Define a sensor; options as of `SensorSpec`.

        Raises:
            ValidationError: no sensor, a bad option, an unknown keyword, or a name that is taken.
        """
        return self._put(self._sensors, "sensor", SensorSpec(name, sensor, **options))

    def add(self, *values: Asset | Schedule | SensorSpec) -> None:
        """Take definitions that were made as plain values.

        Raises:
            ValidationError: a name that is taken, or a value of another type.
        """
        for value in values:
            if isinstance(value, Asset):
                self._put_asset(value)
            elif isinstance(value, Schedule):
                self._put(self._schedules, "schedule", value)
            elif isinstance(value, SensorSpec):
                self._put(self._sensors, "sensor", value)
            else:
                raise ValidationError(f"expected an Asset, a Schedule or a SensorSpec, got: {shown(value)}")

    def check(self) -> None:
        """Check what needs the whole: dependencies, circles, targets.

        Raises:
            ValidationError: its `problems` are the single errors, each with file and line.
        """
        check_together([self], resources=self.resources or None)

    def _put_asset(self, asset: Asset) -> Asset:
        return self._put(self._assets, "asset", asset)

    @staticmethod
    def _put(known: dict[str, T], kind: str, value: T) -> T:
        if value.name in known:
            first = known[value.name].location
            raise ValidationError(f"{kind} {value.name!r} is defined already, at {first}; give it another name")
        known[value.name] = value
        return value


def check_together(pipelines: Iterable[Pipeline], *, resources: Collection[str] | None = None) -> Catalog:
    """The assets of all these pipelines, when the definitions fit together, and with the names of `resources` if known.

    Raises:
        ValidationError: they do not; its `problems` are the single errors, each with file and line.
    """
    together = list(pipelines)
    catalog = Catalog(asset for pipeline in together for asset in pipeline.assets)
    problems = [*catalog.problems(), *_twice(together), *_missing_resources(catalog, resources)]
    for pipeline in together:
        targeting: list[Schedule | SensorSpec] = [*pipeline.schedules, *pipeline.sensors]
        for definition in targeting:
            problems.extend(_target_problem(catalog, definition))
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ValidationError(f"{len(problems)} problems found:\n{lines}", problems=tuple(problems))
    return catalog


def _missing_resources(catalog: Catalog, resources: Collection[str] | None) -> Iterator[FlowstoneError]:
    if resources is None:
        return
    for asset in catalog.assets.values():
        for name in asset.requires:
            if name not in resources:
                unknown = f"asset {asset.name!r} requires {name!r}, which is no resource"
                hint = did_you_mean(name, resources)
                yield ValidationError(f"{asset.location}: {unknown}{hint}", asset=asset.name, name=name)


def _twice(pipelines: list[Pipeline]) -> Iterator[FlowstoneError]:
    for kind in ("schedule", "sensor"):
        seen: dict[str, str] = {}
        for pipeline in pipelines:
            values: list[Schedule] | list[SensorSpec] = pipeline.schedules if kind == "schedule" else pipeline.sensors
            for value in values:
                if value.name in seen:
                    first = seen[value.name]
                    yield ValidationError(f"{value.location}: {kind} {value.name!r} is defined already, at {first}")
                seen[value.name] = value.location


def _target_problem(catalog: Catalog, definition: Schedule | SensorSpec) -> Iterator[FlowstoneError]:
    if definition.target is None:
        return
    try:
        if is_name(definition.target):
            catalog.asset(definition.target)
        else:
            catalog.select(definition.target)
    except CycleError:
        return  # it is reported as a problem of the assets
    except AssetNotFound as error:
        yield AssetNotFound(f"{definition.location}: {definition.name!r} targets: {error}", name=definition.target)
    except ValidationError as error:
        yield ValidationError(f"{definition.location}: {definition.name!r} targets: {error}")
