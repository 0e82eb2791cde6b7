"""Why something ran, did not run, or ran otherwise: one sentence for each row that tells of it.

    str(runtime.why(tick))      # "Tick nightly:1736906400 was suppressed: run run_… of schedule nightly was …"
    runtime.why("run_…").status
    runtime.why("daily_report", partition="2025-01-15").stale

The sentences are tables over what the rows say; nothing is guessed from anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from flowstone.core.partitions import Partition, decode_partition, encode_partition, partition_text
from flowstone.core.run import MaterializationStatus, RunStatus
from flowstone.core.staleness import Staleness
from flowstone.durations import text as duration_text
from flowstone.errors import ValidationError, shown
from flowstone.runs.freshness import AssetState, state_of
from flowstone.runs.queueing import waits_for
from flowstone.runs.records import Conflict, Materialization, Run
from flowstone.runs.services import Services
from flowstone.runs.standing import ALREADY
from flowstone.runs.store import find
from flowstone.schedules.policies import Reason, TickStatus
from flowstone.schedules.rows import Tick
from flowstone.schedules.ticks import tick_of
from flowstone.sensors.outbox import Delivery
from flowstone.sensors.rows import DeliveryStatus, EvaluationRow, EvaluationStatus, SkipReason
from flowstone.sensors.store import find_evaluation
from flowstone.state.connection import Connection

__all__ = ["Item", "Why", "why", "why_of"]

Item = Tick | EvaluationRow | Conflict | Run | Materialization | Delivery | AssetState

LONGEST = 300
"""Characters of an error or a reason that a sentence holds."""

OVERTAKEN = "a run that began after this one was asked for has made it"

TICKS: Mapping[tuple[TickStatus, Reason | None], str] = {
    (TickStatus.TRIGGERED, None): "{what} fired, and asked for run {run_id}.",
    (TickStatus.MISSED, Reason.LATE): "{what} {was} missed: {it} {was} found after {its} time, and misfire='skip' "
    "runs nothing that is late.",
    (TickStatus.MISSED, Reason.SUPERSEDED): "{what} {was} missed: {it} {was} found when a newer one was due, "
    "and misfire='latest' runs the newest.",
    (TickStatus.MISSED, Reason.MAX_COUNT): "{what} {was} missed: {it} {was} found late, behind more newer ones "
    "than the misfire policy's max_count runs.",
    (TickStatus.MISSED, Reason.MAX_AGE): "{what} {was} missed: {it} {was} found later than the misfire policy's "
    "max_age lets one run.",
    (TickStatus.MISSED, Reason.EDITED): "{what} {was} missed: {it} {was} due when the timing of schedule "
    "{schedule} was edited, and an edited schedule fires nothing for the past.",
    (TickStatus.SKIPPED, Reason.PAUSED): "{what} {was} skipped: schedule {schedule} was paused.",
    (TickStatus.SUPPRESSED, Reason.OVERLAP): "{what} {was} suppressed: run {blocked_by} of schedule {schedule} was "
    "unfinished, and the overlap policy lets no other one begin.",
    (TickStatus.FAILED, Reason.PARTITION): "{what} failed: there is no partition for it ({error}).",
    (TickStatus.FAILED, Reason.CONFLICT): "{what} failed: its run key stands for another run ({error}).",
}
SKIPS: Mapping[str | None, str] = {
    SkipReason.PAUSED: "sensor {sensor} was paused",
    SkipReason.BACKPRESSURE: "more runs were unfinished than max_queue lets wait",
    SkipReason.ABANDONED: "as many calls of sensor {sensor} as max_abandoned lets be were given up, and still went on",
}
MATERIALIZATIONS: Mapping[MaterializationStatus, str] = {
    MaterializationStatus.PENDING: "{what} waits for its turn, or for what it depends on.",
    MaterializationStatus.RUNNING: "{what} is being made: attempt {attempt} began at {began}.",
    MaterializationStatus.WAITING_APPROVAL: "{what} waits for people to decide.",
    MaterializationStatus.SUCCESS: "{what} was made by attempt {attempt}, in {duration:g} s.",
    MaterializationStatus.FAILED: "{what} failed in attempt {attempt}: {error}.",
    MaterializationStatus.SKIPPED: "{what} was skipped: {reason}.",
    MaterializationStatus.CANCELLED: "{what} was cancelled: {reason}.",
}
RUNS: Mapping[RunStatus, str] = {
    RunStatus.QUEUED: "{what} is queued: it waits for its turn.",
    RunStatus.RUNNING: "{what} is in progress since {began}.",
    RunStatus.WAITING_APPROVAL: "{what} waits for people to decide, and holds no slot.",
    RunStatus.SUCCESS: "{what} ended well, {duration:g} s after it began.",
    RunStatus.FAILED: "{what} failed: {error}.",
    RunStatus.CANCELLED: "{what} was cancelled: {reason}.",
}
ASSETS: Mapping[Staleness | None, str] = {
    None: "{what} is up to date: {made}.",
    Staleness.NEVER_MATERIALIZED: "{what} is stale: {never}.",
    Staleness.CODE_VERSION_CHANGED: "{what} is stale: its code version is {version} now, and {made} with {before}.",
    Staleness.UPSTREAM_NEVER_MATERIALIZED: "{what} is stale: {upstream}; {made}.",
    Staleness.UPSTREAM_NEWER: "{what} is stale: {upstream} has another value than the one that it was made from; "
    "{made}.",
    Staleness.FRESHNESS_PASSED: "{what} is stale: {made}, longer than {freshness} ago.",
}
DELIVERIES: Mapping[DeliveryStatus, str] = {
    DeliveryStatus.PENDING: "{what} is due at {due}.",
    DeliveryStatus.DELIVERED: "{what} was delivered, by attempt {attempts}.",
    DeliveryStatus.FAILED: "{what} is parked after {attempts} attempts: {error}.",
}


@dataclass(frozen=True, slots=True)
class Why:
    """An answer; its text is the sentence.

    Attributes:
        kind: `tick`, `evaluation`, `conflict`, `run`, `materialization`, `delivery` or `asset`.
        status: the row's; of a conflict, `conflict`; of an asset `fresh` or `stale`.
        item: the row; of an asset how it stands.
        stale: whether the value of an asset's partition is stale, or was never made.
    """

    kind: str
    id: str
    status: str
    reason: str | None
    sentence: str
    item: Item
    stale: bool = False

    def __str__(self) -> str:
        return self.sentence


def why(services: Services, item: Item | str, partition: Partition = None) -> Why:
    """What the store says of a row, or of the run, evaluation or tick of an id; of a queued run what it waits for.

    Of the name of an asset, why its value for the partition was made, was not made, or is stale.

    Raises:
        ValidationError: there is none, or it is no row that has an answer.
        AssetNotFound, PartitionError: with a partition, when the request makes no sense.
    """
    if isinstance(item, str) and (partition is not None or item in services.catalog.assets):
        return why_of(state_of(services, item, partition))
    found = services.database.read(lambda connection: _found(connection, item)) if isinstance(item, str) else item
    answer = why_of(found)
    reason = waits_for(services, found) if isinstance(found, Run) else None
    if reason is None:
        return answer
    sentence = answer.sentence.replace(": it waits for its turn.", f": {reason}.")
    if sentence == answer.sentence:
        sentence = f"{sentence[:-1]}; {reason}."
    return replace(answer, reason=reason, sentence=sentence)


def _found(connection: Connection, identifier: str) -> Item:
    item = find(connection, identifier) or find_evaluation(connection, identifier) or tick_of(connection, identifier)
    if item is None:
        expected = "expected a row, or the id of a run, an evaluation or a tick that there is"
        raise ValidationError(f"{expected}, got: {shown(identifier)}")
    return item


def why_of(item: Item) -> Why:
    """What the row says, in words.

    Raises:
        ValidationError: it is no row that has an answer.
    """
    answer = _ANSWERS.get(type(item))
    if answer is None:
        expected = "expected a tick, an evaluation, a conflict, a run, a materialization, a delivery, or an id"
        raise ValidationError(f"{expected}, got: {shown(item)}")
    return answer(item)


def _tick(tick: Tick) -> Why:
    many = tick.count > 1 and tick.until is not None
    span = f"from {_at(tick.scheduled_for)} to {_at(tick.until)}"
    words = {
        "what": f"{tick.count} ticks of schedule {tick.schedule}, {span}," if many else f"Tick {tick.tick_id}",
        "it": "they" if many else "it",
        "its": "their" if many else "its",
        "was": "were" if many else "was",
        "schedule": tick.schedule,
        "run_id": tick.run_id,
        "blocked_by": tick.blocked_by,
        "error": _cut(tick.error),
    }
    reason = None if tick.reason is None else Reason(tick.reason)
    return Why("tick", tick.tick_id, tick.status, reason, TICKS[tick.status, reason].format(**words), tick)


def _evaluation(row: EvaluationRow) -> Why:
    what = f"Evaluation {row.eval_id} of sensor {row.sensor}"
    says = {
        EvaluationStatus.TRIGGERED: lambda: f"{what} triggered {_triggered(row)}.",
        EvaluationStatus.NO_TRIGGER: lambda: f"{what} triggered nothing: {_cut(row.reason) or 'it saw nothing new'}.",
        EvaluationStatus.ERROR: lambda: f"{what} failed, and changed nothing: {_cut(row.reason)}.",
        EvaluationStatus.SKIPPED: lambda: f"{what} was skipped: {SKIPS[row.reason_code].format(sensor=row.sensor)}.",
        EvaluationStatus.SKIPPED_STALE: lambda: f"{what} was not committed, since somebody changed the sensor while it "
        f"was polled ({_cut(row.reason)}).",
    }
    return Why("evaluation", row.eval_id, row.status, row.reason, says[row.status](), row)


def _triggered(row: EvaluationRow) -> str:
    """What an evaluation triggered: partitions and runs, and what of it was known or in conflict."""
    runs = len(row.run_ids)
    said = [f"{_counted(row.request_count, 'partition')} and asked for {_counted(runs, 'run')}"]
    if 0 < runs < row.request_count:
        said.append(f"for {row.request_count - runs} the run key stands for another run")
    if row.duplicate_count:
        said.append(f"{_counted(row.duplicate_count, 'arrival')} had been committed before")
    return "; ".join(said)


def _conflict(row: Conflict) -> Why:
    prints = f"fingerprint {row.requested_fingerprint[:12]}… in place of {row.existing_fingerprint[:12]}…"
    taken = f"run key {row.run_key!r} stands for a run that means something else ({prints}), and that stays"
    sentence = f"The request of {row.source} at {_at(row.at)} made no run: {taken}."
    return Why("conflict", row.run_key, "conflict", None, sentence, row)


def _run(run: Run) -> Why:
    repeated = next((m for m in run.materializations if _is_repeated(m)), None)
    words = {
        "what": f"Run {run.run_id} of {_subject(run.asset, run.partition)}",
        "began": _at(run.started_at),
        "duration": _seconds(run.started_at, run.completed_at),
        "error": _cut(run.error),
        "reason": _cut(run.reason),
    }
    sentence = RUNS[run.status].format(**words)
    if run.status is RunStatus.QUEUED and repeated is not None:
        sentence = f"{words['what']} is queued: {repeated.asset} is tried again, since {_cut(repeated.error)}."
    elif run.status is RunStatus.QUEUED and run.interruptions:
        times = _counted(run.interruptions, "time")
        sentence = f"{words['what']} is queued: it was put back {times}, since what worked on it ended."
    return Why("run", run.run_id, run.status, run.reason or run.error, sentence, run)


def _materialization(row: Materialization) -> Why:
    words = {
        "what": f"{_subject(row.asset, row.partition)} of run {row.run_id}",
        "attempt": row.attempt,
        "began": _at(row.started_at),
        "duration": row.duration or 0.0,
        "error": _cut(row.error),
        "reason": OVERTAKEN if row.reason == ALREADY else _cut(row.reason),
    }
    sentence = MATERIALIZATIONS[row.status].format(**words)
    if _is_repeated(row):
        sentence = f"{words['what']} is tried again, since attempt {row.attempt} failed: {words['error']}."
    return Why("materialization", f"{row.run_id}/{row.asset}", row.status, row.reason or row.error, sentence, row)


def _delivery(row: Delivery) -> Why:
    words = {
        "what": f"Delivery {row.id} of sensor {row.sensor}",
        "due": _at(row.next_at),
        "attempts": row.attempts,
        "error": _cut(row.error),
    }
    sentence = DELIVERIES[row.status].format(**words)
    if row.status is DeliveryStatus.PENDING and row.error is not None:
        failed = f"since attempt {row.attempts} failed: {words['error']}"
        sentence = f"{words['what']} is tried again at {words['due']}, {failed}."
    return Why("delivery", str(row.id), row.status, row.error, sentence, row)


def _asset(state: AssetState) -> Why:
    partition, made, newest = encode_partition(state.partition), state.made, state.newest
    words = {
        "what": _subject(state.asset.name, state.partition),
        "made": "it was made" if made is None else _made_by(state),
        "version": state.asset.code_version,
        "before": None if made is None else made.code_version,
        "freshness": duration_text(state.asset.freshness or 0.0),
        "upstream": _upstream(state),
        "never": "nobody has asked for it" if newest is None else "it was never made",
    }
    if newest is not None and newest.status is MaterializationStatus.SUCCESS:
        words["never"] = f"what run {newest.run_id} made was declared invalid"
    sentence = ASSETS[state.reason].format(**words)
    if newest is not None and newest.status is not MaterializationStatus.SUCCESS:
        since = "Since then: " if made is not None else ""
        sentence = f"{sentence} {since}{_materialization(newest).sentence}"
    status = "stale" if state.stale else "fresh"
    identifier = f"{state.asset.name}@{partition}" if partition else state.asset.name
    return Why("asset", identifier, status, state.reason, sentence, state, stale=state.stale)


def _made_by(state: AssetState) -> str:
    assert state.made is not None
    by = state.made
    asked = "by hand" if by.source_name is None else f"by {by.source_kind} {by.source_name}"
    return f"run {by.row.run_id}, asked for {asked}, made it at {_at(by.row.completed_at)}"


def _upstream(state: AssetState) -> str:
    if state.because is None:
        return _cut(state.problem)
    name, encoded = state.because
    place = _subject(name, decode_partition(encoded))
    newer = state.reason is Staleness.UPSTREAM_NEWER
    return place if newer else f"{place}, of which it is made, has no value"


_ANSWERS: Mapping[type, Callable[[Any], Why]] = {
    AssetState: _asset,
    Conflict: _conflict,
    Delivery: _delivery,
    EvaluationRow: _evaluation,
    Materialization: _materialization,
    Run: _run,
    Tick: _tick,
}


def _is_repeated(row: Materialization) -> bool:
    return row.status is MaterializationStatus.PENDING and row.error is not None


def _subject(asset: str, partition: Partition) -> str:
    if partition is None:
        return asset
    plain = partition.isoformat() if isinstance(partition, date) else partition_text(partition)
    return f"{asset} for {plain}"


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _at(moment: datetime | None) -> str:
    return "a time unknown" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _seconds(begin: datetime | None, end: datetime | None) -> float:
    return 0.0 if begin is None or end is None else (end - begin).total_seconds()


def _cut(text: str | None) -> str:
    """A text on one line, without a full stop of its own."""
    line = " ".join((text or "").split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
