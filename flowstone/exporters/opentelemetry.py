"""The runs of a runtime as spans of OpenTelemetry, and its numbers as instruments, in the providers of the user's.

    attached = opentelemetry.attach(runtime)    # in the global providers, or tracer_provider= and meter_provider=

Spans: `run <asset>`, in it `materialize <asset>` for each attempt, in that `load <asset>` and `store <asset>`; and
`poll <sensor>` or `push <sensor>`. They are made of telemetry's events, in the time of the runtime's clock, so their
starts are as exact as these are told soon; how long each took is measured. What an event tells is an attribute:
`run_id` is `flowstone.run_id`. What is open ends with `detach()`, which comes before the shutdown of the provider.

Instruments are named after events: `lateness` of `flowstone.schedule.tick` is the histogram
`flowstone.schedule.tick.lateness`. The snapshot, `runtime.metrics()`, is read when a reader collects:
`flowstone_queue_age_seconds` is the gauge `flowstone.queue_age`, in seconds; `flowstone.up` is 0 while it can't be.
Needs the extra `opentelemetry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from actors.raw import Lock
from flowstone.errors import ConfigError, ValidationError, shown
from flowstone.exporters.measures import BUCKETS, Measure, Record, Recorder
from flowstone.exporters.spans import Spans
from flowstone.exporters.watched import GAUGES, Watched
from flowstone.groups import Groups
from flowstone.metrics import Metric, Metrics

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation
    from opentelemetry.trace import TracerProvider

__all__ = ["Attached", "attach"]

SCOPE = "flowstone"


def attach(
    runtime: Groups, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Attached:
    """Make spans and numbers of a runtime, or the gauges of a client, from now on; before the start too.

    Raises:
        ConfigError: opentelemetry is not installed.
        ValidationError: this is no runtime, or no provider, or the meter provider has a runtime already.
    """
    try:
        from opentelemetry import metrics, trace
    except ImportError as error:
        message = "flowstone.exporters.opentelemetry needs opentelemetry: pip install 'flowstone[opentelemetry]'"
        raise ConfigError(message) from error
    watched = Watched(runtime)
    _check("tracer_provider", tracer_provider, trace.TracerProvider)
    _check("meter_provider", meter_provider, metrics.MeterProvider)
    spans = Spans(trace.get_tracer(SCOPE, tracer_provider=tracer_provider), watched.now)
    meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
    if meter_provider is metrics.get_meter_provider():
        meter_provider = None
    return Attached(watched, spans, meter, _gauges_of(meter_provider))


class Attached:
    """A runtime that is traced and measured."""

    def __init__(self, watched: Watched, spans: Spans, meter: Meter, gauges: Gauges) -> None:
        self._watched = watched
        self._spans = spans
        self._gauges = gauges
        self._recorder = Recorder(lambda measure: _record(measure, meter))
        gauges.enter(watched, meter)
        watched.listen(self._take)

    def detach(self) -> None:
        """Make no more of them; spans that are open end. Harmless when repeated."""
        self._watched.leave()
        self._gauges.leave(self._watched)
        self._spans.close()

    def _take(self, event: str, measurements: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._recorder.take(event, measurements, metadata)
        self._spans.take(event, measurements, metadata)


class Gauges:
    """The gauges of a provider, which keeps their callbacks for good, and whose snapshot they give at present.

    A snapshot is read once for all the gauges that a reader collects in a row.
    """

    def __init__(self) -> None:
        # A reader that collects has the provider's lock when it asks for `_reading`; who makes gauges needs that lock.
        self._entering = Lock()
        self._reading = Lock()
        self._made = False
        self._watched: Watched | None = None
        self._found = Metrics()
        self._given: set[str] = set()

    def enter(self, watched: Watched, meter: Meter) -> None:
        """Give the snapshots of this one from now on.

        Raises:
            ValidationError: they give those of another.
        """
        with self._entering:
            if self._watched is not None:
                expected = "expected a meter provider without the numbers of a runtime"
                raise ValidationError(f"{expected}: detach the other, or give each a provider of its own")
            for name, told in () if self._made else GAUGES.items():
                unit = "s" if name.endswith("_seconds") else ""
                named = name.removesuffix("_seconds").replace("flowstone_", "flowstone.", 1)
                meter.create_observable_gauge(named, [self._callback(name)], unit, told)
            self._made, self._given, self._watched = True, set(GAUGES), watched

    def leave(self, watched: Watched) -> None:
        """Give the snapshots of this one no more. Harmless when repeated."""
        with self._entering:
            if self._watched is watched:
                self._watched = None

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation

        def observed(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(one.value, dict(one.labels)) for one in self._numbers(name)]

        return observed

    def _numbers(self, name: str) -> list[Metric]:
        """The numbers of a name; for one that was given before, the snapshot is read again."""
        with self._reading:
            watched = self._watched
            if watched is None:
                return []
            if name in self._given:
                self._given.clear()
                self._found = watched.snapshot()
            self._given.add(name)
            return [one for one in self._found if one.name == name]


# The global provider is a stand-in until there is one, so it is not known by what it is.
_GLOBAL = Gauges()
_GAUGES: WeakKeyDictionary[MeterProvider, Gauges] = WeakKeyDictionary()
_FINDING = Lock()


def _gauges_of(provider: MeterProvider | None) -> Gauges:
    """The gauges of a provider, None is the global one."""
    if provider is None:
        return _GLOBAL
    with _FINDING:
        return _GAUGES.setdefault(provider, Gauges())


def _check(name: str, provider: object, kind: type) -> None:
    if provider is not None and not isinstance(provider, kind):
        raise ValidationError(f"expected {name} to be a {kind.__name__}, got: {shown(provider)}")


def _record(measure: Measure, meter: Meter) -> Record:
    if measure.seconds:
        histogram = meter.create_histogram(
            measure.name, measure.unit, measure.told, explicit_bucket_boundaries_advisory=BUCKETS
        )
        return histogram.record
    return meter.create_counter(measure.name, measure.unit, measure.told).add
