"""Why something ran, did not run, or ran otherwise: one sentence for each row that tells of it.

    str(runtime.why(tick))      # "Tick nightly:1736906400 was suppressed: run run_… of schedule nightly was …"
    runtime.why("run_…").status
    runtime.why("daily_report", partition="2025-01-15").stale

The sentences are tables over what the rows say; nothing is guessed from anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from flowstone.approvals import store as approvals
from flowstone.approvals.approval import Approval
from flowstone.core.approval import ApprovalStatus
from flowstone.core.partitions import Partition, decode_partition, encode_partition, partition_text
from flowstone.core.run import MaterializationStatus, RunStatus
from flowstone.core.staleness import Staleness
from flowstone.durations import text as duration_text
from flowstone.errors import ValidationError, did_you_mean, shown
from flowstone.runs.freshness import AssetState, state_of
from flowstone.runs.queueing import waits_for
from flowstone.runs.records import Conflict, Materialization, Run
from flowstone.runs.services import Services
from flowstone.runs.standing import ALREADY
from flowstone.runs.store import find
from flowstone.schedules.policies import Reason
from flowstone.schedules.rows import Tick
from flowstone.schedules.ticks import newest_tick, tick_of
from flowstone.sensors.outbox import Delivery
from flowstone.sensors.rows import DeliveryStatus, EvaluationRow, EvaluationStatus
from flowstone.sensors.store import find_evaluation, history
from flowstone.sentences import APPROVALS, ASSETS, DEADLINES, DELIVERIES, MATERIALIZATIONS, RUNS, SKIPS, TICKS
from flowstone.state.connection import Connection

__all__ = ["Item", "Why", "why", "why_of"]

Item = Tick | EvaluationRow | Conflict | Run | Materialization | Delivery | Approval | AssetState

LONGEST = 300
"""Characters of an error or a reason that a sentence holds."""

OVERTAKEN = "a run that began after this one was asked for has made it"


@dataclass(frozen=True, slots=True)
class Why:
    """An answer; its text is the sentence.

    Attributes:
        kind: `tick`, `evaluation`, `conflict`, `run`, `materialization`, `delivery`, `approval` or `asset`.
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
    """What the store says of a row, or of that of an id: a run's, evaluation's, tick's or approval's.

    Of a queued run also what it waits for.

    Of the name of an asset, why its value for the partition was made, was not made, or is stale; of the name of a
    schedule or sensor that is no asset's, what its newest tick or evaluation says.

    Raises:
        ValidationError: there is none, or it is no row that has an answer.
        AssetNotFound, PartitionError: with a partition, when the request makes no sense.
    """
    if isinstance(item, str) and (partition is not None or item in services.catalog.assets):
        return why_of(state_of(services, item, partition))
    found = _of_id(services, item) if isinstance(item, str) else item
    answer = why_of(found)
    reason = waits_for(services, found) if isinstance(found, Run) else None
    if reason is None:
        return answer
    sentence = answer.sentence.replace(": it waits for its turn.", f": {reason}.")
    if sentence == answer.sentence:
        sentence = f"{sentence[:-1]}; {reason}."
    return replace(answer, reason=reason, sentence=sentence)


def _of_id(services: Services, identifier: str) -> Item:
    item = services.database.read(lambda connection: _found(connection, identifier))
    if item is None:
        expected = (
            "expected a row, the name of an asset, of a schedule with a tick or of a sensor with an evaluation, or the "
            "id of a run, an evaluation, a tick or an approval that there is"
        )
        hint = did_you_mean(identifier, services.catalog.assets)
        raise ValidationError(f"{expected}, got: {shown(identifier)}{hint}")
    return item


def _found(connection: Connection, identifier: str) -> Item | None:
    return next((found for look in _LOOKS if (found := look(connection, identifier)) is not None), None)


def _newest_evaluation(connection: Connection, sensor: str) -> EvaluationRow | None:
    return next(iter(history(connection, sensor, limit=1)), None)


def why_of(item: Item) -> Why:
    """What the row says, in words.

    Raises:
        ValidationError: it is no row that has an answer.
    """
    answer = _ANSWERS.get(type(item))
    if answer is None:
        expected = "expected a tick, an evaluation, a conflict, a run, a materialization, a delivery, an approval"
        raise ValidationError(f"{expected}, an asset, or an id, got: {shown(item)}")
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


def _approval(row: Approval) -> Why:
    deadline = "" if row.deadline is None else f"; {DEADLINES[row.on_timeout]} at {_at(row.deadline)}"
    words = {
        "what": f"Approval {row.id} of {_subject(row.asset, row.partition)} in run {row.run_id}",
        "message": _cut(row.message),
        "asked": _at(row.requested_at),
        "deadline": deadline if row.status is ApprovalStatus.PENDING else "",
        "by": row.by,
        "decided": _at(row.decided_at),
        "because": f": {_cut(row.reason)}" if row.reason else "",
    }
    return Why("approval", row.id, row.status, row.reason, APPROVALS[row.status].format(**words), row)


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


_LOOKS: Sequence[Callable[[Connection, str], Item | None]] = (
    *(find, find_evaluation, tick_of, approvals.find),
    *(newest_tick, _newest_evaluation),
)
_ANSWERS: Mapping[type, Callable[[Any], Why]] = {
    Approval: _approval,
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
