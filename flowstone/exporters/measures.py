"""What of telemetry's events is exported, and under which names: one table for all exporters.

A measurement in seconds is a histogram, everything else a counter. Labels are names of definitions, texts of selections
and closed sets of words: a run, a partition or a reason would make a time series each. Names may be made while the
runtime runs, so the sets of labels are bounded too.

Options: `LABEL_SETS` (sets of labels that a measure may have; all further ones are the set in which each is `other`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["BUCKETS", "LABEL_SETS", "MEASURES", "OTHER", "Measure", "Record", "Recorder"]

LABEL_SETS = 1_000
OTHER = "other"

BUCKETS = (
    *(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0),
)
"""Seconds that divide a histogram: from a tick that is on time to an asset that takes hours."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement of an event that is exported, with the metadata that are its labels.

    >>> lateness = Measure("flowstone.schedule.tick", "lateness", ("schedule", "status"))
    >>> (lateness.name, lateness.unit, lateness.labelled({"schedule": "nightly", "run_id": "7"}))
    ('flowstone.schedule.tick.lateness', 's', {'schedule': 'nightly'})
    """

    event: str
    measurement: str
    labels: tuple[str, ...] = ()

    @property
    def seconds(self) -> bool:
        """Whether it is one of seconds, and a histogram; else it is counted."""
        return self.measurement in _SECONDS

    @property
    def unit(self) -> str:
        """The unit, in UCUM's words as OpenTelemetry has it; none for what is only counted."""
        return "s" if self.seconds else "By" if self.measurement == "bytes" else ""

    @property
    def name(self) -> str:
        """The event, and the measurement unless that is its count."""
        return self.event if self.measurement == "count" else f"{self.event}.{self.measurement}"

    @property
    def told(self) -> str:
        """What it is, for people."""
        return f"{self.measurement} of {self.event}"

    def value(self, measurements: Mapping[str, Any]) -> float | None:
        """The number, or None when the event has none; an event that counts nothing counts as one.

        Seconds between two readings of a wall clock that was set back are none.
        """
        found = measurements.get(self.measurement, 1 if self.measurement == "count" else None)
        return None if found is None else max(0, found)

    def labelled(self, metadata: Mapping[str, Any]) -> dict[str, str]:
        """The labels that the event has."""
        return {name: str(metadata[name]) for name in self.labels if metadata.get(name) is not None}


Record = Callable[[float, dict[str, str]], object]

_SECONDS = ("lateness", "queue_age", "duration", "waited")
_IO = ("asset", "operation", "io_manager")

MEASURES = (
    Measure("flowstone.schedule.tick", "lateness", ("schedule", "status")),
    Measure("flowstone.schedule.missed", "count", ("schedule",)),
    Measure("flowstone.sensor.evaluated", "lateness", ("sensor", "status")),
    Measure("flowstone.sensor.evaluated", "duration", ("sensor", "status")),
    Measure("flowstone.sensor.triggered", "count", ("sensor",)),
    Measure("flowstone.sensor.error", "count", ("sensor",)),
    Measure("flowstone.run.requested", "count", ("asset",)),
    Measure("flowstone.run.started", "queue_age", ("asset",)),
    Measure("flowstone.run.interrupted", "count"),
    Measure("flowstone.run.finished", "duration", ("asset", "status")),
    Measure("flowstone.materialization.stop", "duration", ("asset", "status")),
    Measure("flowstone.materialization.exception", "duration", ("asset", "error_type")),
    Measure("flowstone.io.stop", "duration", _IO),
    Measure("flowstone.io.stop", "bytes", _IO),
    Measure("flowstone.io.exception", "duration", _IO),
    Measure("flowstone.approval.requested", "count", ("asset",)),
    Measure("flowstone.approval.approved", "waited", ("asset",)),
    Measure("flowstone.approval.rejected", "waited", ("asset",)),
    Measure("flowstone.approval.modified", "waited", ("asset",)),
    Measure("flowstone.approval.escalated", "waited", ("asset",)),
    Measure("flowstone.approval.expired", "waited", ("asset",)),
    Measure("flowstone.resource.up", "count", ("resource",)),
    Measure("flowstone.resource.down", "count", ("resource",)),
    Measure("flowstone.backfill.started", "count", ("asset",)),
    Measure("flowstone.backfill.finished", "count", ("status",)),
    Measure("flowstone.task.fired", "lateness", ("task",)),
    Measure("flowstone.task.missed", "count", ("task",)),
    Measure("flowstone.event.handled", "duration", ("event_type",)),
    Measure("flowstone.event.failed", "duration", ("event_type",)),
    Measure("flowstone.actor.restart", "count", ("sensor",)),
)
"""All that is exported, the lags first."""


class Recorder:
    """Hands each measurement of an event to what records it; a handler of telemetry, and called as one."""

    def __init__(self, record_of: Callable[[Measure], Record]) -> None:
        self._of: dict[str, list[tuple[Measure, Record]]] = {}
        for measure in MEASURES:
            self._of.setdefault(measure.event, []).append((measure, record_of(measure)))
        self._labels: dict[Measure, set[tuple[str, ...]]] = {measure: set() for measure in MEASURES}

    def take(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Record what an event measured."""
        for measure, record in self._of.get(event, ()):
            value = measure.value(measurements)
            if value is not None:
                record(value, self._bounded(measure, measure.labelled(metadata)))

    def _bounded(self, measure: Measure, labels: dict[str, str]) -> dict[str, str]:
        known, these = self._labels[measure], tuple(labels.values())
        if these not in known:
            if len(known) >= LABEL_SETS:
                return dict.fromkeys(measure.labels, OTHER)
            known.add(these)
        return labels
