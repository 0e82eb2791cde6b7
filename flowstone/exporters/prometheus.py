"""The numbers of a runtime in a registry of Prometheus: the snapshot of lags and counts, and what events measure.

    attached = prometheus.attach(runtime)       # in prometheus_client.REGISTRY, or registry=
    prometheus_client.start_http_server(9000)

A scrape reads the snapshot from the store, as `runtime.metrics()` does, under the same names. Each event's measurement
is a histogram (seconds) or a counter, named after the event: `flowstone.schedule.tick`, `lateness` is
`flowstone_schedule_tick_lateness_seconds`. `flowstone_up` is 0 while the snapshot can't be read; the scrape succeeds.
Needs the extra `prometheus`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from flowstone.errors import ConfigError, ValidationError, shown
from flowstone.exporters.measures import BUCKETS, Measure, Record, Recorder
from flowstone.exporters.watched import GAUGES, Watched
from flowstone.groups import Groups
from flowstone.metrics import Metric

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.metrics_core import Metric as Family

__all__ = ["Attached", "attach"]

M = TypeVar("M", "Counter", "Histogram")


def attach(runtime: Groups, *, registry: CollectorRegistry | None = None) -> Attached:
    """Put the numbers of a runtime, or the snapshot of a client, into a registry; before the start too.

    Raises:
        ConfigError: prometheus_client is not installed.
        ValidationError: this is no runtime, or no registry, or the registry has a runtime already.
    """
    try:
        from prometheus_client import REGISTRY, CollectorRegistry
    except ImportError as error:
        message = "flowstone.exporters.prometheus needs prometheus_client: pip install 'flowstone[prometheus]'"
        raise ConfigError(message) from error
    if registry is not None and not isinstance(registry, CollectorRegistry):
        raise ValidationError(f"expected registry to be a CollectorRegistry, got: {shown(registry)}")
    return Attached(Watched(runtime), REGISTRY if registry is None else registry)


class Attached:
    """A runtime whose numbers are in a registry: one of its collectors."""

    def __init__(self, watched: Watched, registry: CollectorRegistry) -> None:
        from prometheus_client import CollectorRegistry

        self._watched = watched
        self._registry = registry
        # Of its own, so that the user's registry has one thing to take in and to let go.
        measured = CollectorRegistry()
        self._measured = measured
        recorder = Recorder(lambda measure: _record(measure, measured))
        try:
            registry.register(self)
        except ValueError as error:
            expected = "expected a registry without the numbers of a runtime"
            raise ValidationError(f"{expected}: detach the other, or give each a registry of its own") from error
        watched.listen(recorder.take)

    def detach(self) -> None:
        """Take the numbers out of the registry. Harmless when repeated."""
        self._watched.leave()
        with suppress(KeyError):
            self._registry.unregister(self)

    def collect(self) -> Iterator[Family]:
        """The numbers as they are now, for a scrape."""
        yield from _families(self._watched.snapshot())
        yield from self._measured.collect()

    def describe(self) -> Iterator[Family]:
        """All that `collect` may give, before there is a number."""
        yield from _families(())
        yield from self._measured.collect()


def _record(measure: Measure, registry: CollectorRegistry) -> Record:
    from prometheus_client import Counter, Histogram

    name = measure.name.replace(".", "_")
    if measure.seconds:
        histogram = Histogram(f"{name}_seconds", measure.told, measure.labels, registry=registry, buckets=BUCKETS)
        return lambda value, labels: _labelled(histogram, measure, labels).observe(value)
    counter = Counter(name, measure.told, measure.labels, registry=registry)
    return lambda value, labels: _labelled(counter, measure, labels).inc(value)


def _labelled(metric: M, measure: Measure, labels: Mapping[str, str]) -> M:
    """A metric for labels: Prometheus has all of them, those that the event does not tell as empty text."""
    return metric.labels(*(labels.get(name, "") for name in measure.labels)) if measure.labels else metric


def _families(found: Iterable[Metric]) -> Iterator[Family]:
    """A snapshot as Prometheus has it."""
    from prometheus_client.core import GaugeMetricFamily

    for name, told in GAUGES.items():
        each = [one for one in found if one.name == name]
        family = GaugeMetricFamily(name, told, labels=list(each[0].labels) if each else [])
        for one in each:
            family.add_metric(list(one.labels.values()), one.value)
        yield family
