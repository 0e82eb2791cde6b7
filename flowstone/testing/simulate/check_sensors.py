"""Sensors at rest: the cursor is what its history says, and each item of a source has one run or one delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from flowstone.sensors.rows import SETTLED, Cause, DeliveryStatus, EvaluationStatus
from flowstone.sensors.spec import SensorSpec
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_value
from flowstone.testing.simulate.feeds import item_name
from flowstone.testing.simulate.violations import Violation

__all__ = ["check_feeds", "check_sensors"]

_EVALUATIONS = "select * from evaluation where sensor = :name order by id"
_RUNS = """
    select run_id, evaluation_id, payload from run
    where source_kind = 'sensor' and source_name = :name and retry_of is null order by id
"""
_STEERED = """
    select id from audit where resource = :resource and event_type in ('sensor.paused', 'sensor.resumed')
"""
_OUTBOX = "select * from outbox where sensor = :name order by id"
_ARRIVALS = "select key, eval_id from arrival where sensor = :name order by key"

CURSOR = "the cursor is what its history says"
EVALUATED = "each evaluation has what it asked for"
ITEM = "each item of a source has one run, or one delivery"


def check_sensors(
    disk: Connection, specs: Iterable[SensorSpec], *, now: datetime, calm_from: int, longest_wait: float
) -> Iterator[Violation]:
    """What is wrong with sensors; each has evaluations past `calm_from` when it is polled within `longest_wait`."""
    for spec in specs:
        row = disk.execute("select * from sensor where name = :name", name=spec.name)[0]
        evaluations = disk.execute(_EVALUATIONS, name=spec.name)
        yield from _check_cursor(row, evaluations, len(disk.execute(_STEERED, resource=f"sensor:{spec.name}")))
        yield from _check_evaluations(disk, spec, evaluations)
        yield from _check_deliveries(disk, spec, now)
        if spec.every is not None and spec.every <= longest_wait:
            if not any(each.id > calm_from for each in evaluations):
                yield Violation("no sensor falls silent", spec.name, f"it was not polled for {longest_wait:.0f} s")


def _check_cursor(row: Row, evaluations: list[Row], steered: int) -> Iterator[Violation]:
    version, cursor = 0, None
    settled = [each for each in evaluations if each.trigger != Cause.PUSH and each.status in SETTLED]
    for each in settled:
        if each.expected_state_version < version:
            text = f"it started from version {each.expected_state_version}, the one before left {version}"
            yield Violation(CURSOR, each.eval_id, text)
        if cursor is not None and each.cursor_before != cursor:
            yield Violation(CURSOR, each.eval_id, f"it started from {each.cursor_before}, the one before left {cursor}")
        version, cursor = each.state_version_after, each.cursor_after
    if row.state_version != len(settled) + steered:
        text = f"it stands at version {row.state_version}, after {len(settled)} polls and {steered} calls of people"
        yield Violation(CURSOR, row.name, text)
    if cursor is not None and row.cursor != cursor:
        yield Violation(CURSOR, row.name, f"it stands at {row.cursor}, its history at {cursor}")


def _check_evaluations(disk: Connection, spec: SensorSpec, evaluations: list[Row]) -> Iterator[Violation]:
    settled = Counter(each.eval_key for each in evaluations if each.status in SETTLED)
    for key, n in settled.items():
        if n > 1:
            yield Violation("one settled evaluation for each key", key, f"it has {n}")
    known = {each.eval_id: frozenset(json_value(each.run_ids)) for each in evaluations}
    triggered = {each.eval_id for each in evaluations if each.status == EvaluationStatus.TRIGGERED}
    asked: Counter[str] = Counter()
    for run in disk.execute(_RUNS, name=spec.name):
        asked[run.evaluation_id] += 1
        if run.run_id not in known.get(run.evaluation_id, ()) or run.evaluation_id not in triggered:
            yield Violation(EVALUATED, run.run_id, f"evaluation {run.evaluation_id} does not know of it")
    for each in evaluations:
        if spec.target is not None and each.eval_id in triggered and asked[each.eval_id] != each.request_count:
            text = f"it asked for {each.request_count} runs, there are {asked[each.eval_id]}"
            yield Violation(EVALUATED, each.eval_id, text)
    for arrival in disk.execute(_ARRIVALS, name=spec.name):
        if arrival.eval_id not in known:
            yield Violation(EVALUATED, f"{spec.name} {arrival.key}", f"there is no evaluation {arrival.eval_id}")


def _check_deliveries(disk: Connection, spec: SensorSpec, now: datetime) -> Iterator[Violation]:
    for delivery in disk.execute(_OUTBOX, name=spec.name):
        if delivery.status == DeliveryStatus.PENDING and instant(delivery.next_at) <= now:
            text = f"it is pending since {delivery.next_at}, and nobody delivers it at {now}"
            yield Violation("no row is left between states", f"delivery {delivery.id} of {spec.name}", text)


def check_feeds(
    disk: Connection,
    specs: Iterable[SensorSpec],
    feeds: Mapping[str, list[float]],
    acknowledged: Mapping[str, Collection[int]],
) -> Iterator[Violation]:
    """What of the simulated sources' items was lost, or came twice."""
    for spec in specs:
        if spec.name not in feeds:
            continue
        runs = _items(row.payload for row in disk.execute(_RUNS, name=spec.name))
        deliveries = _items(row.payload for row in disk.execute(_OUTBOX, name=spec.name))
        for number in range(len(feeds[spec.name])):
            subject = f"{spec.name} {item_name(number)}"
            if spec.target is not None and runs[number] != 1:
                yield Violation(ITEM, subject, f"it has {runs[number]} runs")
            if spec.on_trigger is not None and deliveries[number] != 1:
                yield Violation(ITEM, subject, f"it has {deliveries[number]} deliveries")
            if spec.name in acknowledged and number not in acknowledged[spec.name]:
                yield Violation("each push is acknowledged in the end", subject, "it never was")


def _items(payloads: Iterable[str | None]) -> Counter[int]:
    found: Counter[int] = Counter()
    for payload in payloads:
        content = json_value(payload)
        if isinstance(content, dict) and "item" in content:
            found[content["item"]] += 1
    return found
