"""What one poll commits, decided from the sensor's row and the outcome of the call; pure.

A poll's evaluation key is fixed when it starts and kept by every retry of its commit, so that a commit whose answer
was lost finds its own work.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flowstone.core.catalog import Catalog
from flowstone.core.partitions import Partition, decode_partition
from flowstone.core.run import RunRequest, Source, SourceKind
from flowstone.core.run_key import bounded, poll_key
from flowstone.errors import FlowstoneError, ValidationError, shown
from flowstone.outcome import Outcome
from flowstone.runs.requests import ResolvedRequest, resolve
from flowstone.sensors.backoff import CAP, backoff
from flowstone.sensors.cursor import write_state
from flowstone.sensors.rows import Cause, EvaluationStatus, Fault, SensorRow, SkipReason, slowing
from flowstone.sensors.sensor import KEEP, Arrival, Item, NoTrigger, PollError, Trigger
from flowstone.sensors.spec import SensorSpec

__all__ = ["Evaluation", "PollStart", "Request", "begin", "decide", "evaluation_id", "first_cursor", "skip"]

LARGEST_PAYLOAD = 64 * 1024
"""Bytes of JSON that an arrival may carry."""

LONGEST_REASON = 2000
"""Characters of a reason that are kept."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PollStart:
    """What is fixed when a poll starts: the row that it saw and the key of its evaluation."""

    row: SensorRow
    cause: Cause
    eval_key: str
    epoch: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """One run that a poll asks for; `arrival` is the key by which what arrived is known again."""

    resolved: ResolvedRequest
    partition: Partition
    arrival: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a poll is to commit; `faults` are those that the poll can tell of.

    `delay` is the wait in seconds until the next poll by the timer; None leaves the timer as it is.
    """

    start: PollStart
    eval_id: str
    status: EvaluationStatus
    at: datetime
    cursor_after: str | None
    failures: int
    faults: frozenset[Fault]
    delay: float | None
    reason: str | None = None
    reason_code: str | None = None
    requests: tuple[Request, ...] = ()
    seen: tuple[str, ...] = ()
    lookback: float | None = None

    @property
    def next_poll_at(self) -> datetime | None:
        """When the timer polls next; None leaves that as it is."""
        return None if self.delay is None else self.at + timedelta(seconds=self.delay)


@dataclass(frozen=True, slots=True)
class _Failure:
    code: str
    text: str = ""

    @property
    def reason(self) -> str:
        return _clean(f"{self.code}: {self.text}" if self.text else self.code)


@dataclass(frozen=True, slots=True)
class _Finding:
    status: EvaluationStatus
    cursor: str | None
    reason: str | None = None
    requests: tuple[Request, ...] = ()
    seen: tuple[str, ...] = ()


def begin(row: SensorRow, now: datetime, *, manual: str | None = None) -> PollStart:
    """Fix what a poll that starts now is known by; `manual` is the fresh id of one that somebody asked for.

    The epoch of a poll by the timer never repeats, not even when the clock was set back.
    """
    cursor = "none" if row.cursor_text is None else hashlib.sha256(row.cursor_text.encode()).hexdigest()
    if manual is not None:
        return PollStart(row, Cause.MANUAL, f"sensor_eval:{row.name}:poll:{manual}:{cursor}", None)
    interval = max(1, round((row.interval or 0.0) * 1_000_000))
    epoch = (now - _EPOCH) // _MICROSECOND // interval
    if row.last_epoch is not None:
        epoch = max(epoch, row.last_epoch + 1)
    return PollStart(row, Cause.POLL, f"sensor_eval:{row.name}:poll:{epoch}:{cursor}", epoch)


def evaluation_id(eval_key: str, earlier: int) -> str:
    """The id of the evaluation of a key that has so many earlier rows.

    >>> evaluation_id("sensor_eval:orders:poll:1:none", 0)
    'eval_ia37z52fc46hkemgwkifnckb53'
    """
    digest = hashlib.sha256(f"{eval_key}#{earlier}".encode()).digest()
    return f"eval_{base64.b32encode(digest[:17]).decode().lower()[:26]}"


def first_cursor(spec: SensorSpec, outcome: Outcome[Any]) -> str | Outcome[Any]:
    """The cursor that a call of `init` gives; or, as a poll that failed, why it gives none."""
    if not outcome.ok:
        return outcome
    try:
        return write_state(spec.sensor, outcome.value)
    except ValidationError as error:
        return Outcome(value=PollError(error, code="bad_state"))


def decide(
    spec: SensorSpec,
    start: PollStart,
    outcome: Outcome[Any],
    *,
    now: datetime,
    regular: float | None,
    abandoned: int,
    catalog: Catalog,
) -> Evaluation:
    """What a poll that ended now commits.

    `regular` is the wait in seconds until the next poll that the interval asks for, None without an interval;
    `abandoned` counts the calls of this sensor that were given up and still run.
    """
    identifier = evaluation_id(start.eval_key, 0)
    read = _read(spec, start, outcome, identifier, catalog)
    failed = isinstance(read, _Failure)
    failures = start.row.consecutive_failures + 1 if failed else 0
    faults = _faults(spec, failures, abandoned)
    common: dict[str, Any] = {
        "start": start,
        "eval_id": identifier,
        "at": now,
        "failures": failures,
        "faults": faults,
        "delay": _delay(start, failures, faults, regular),
        "lookback": spec.sensor.lookback,
    }
    if isinstance(read, _Failure):
        cursor, status = start.row.cursor_text, EvaluationStatus.ERROR
        return Evaluation(**common, status=status, cursor_after=cursor, reason=read.reason, reason_code=read.code)
    return Evaluation(
        **common,
        status=read.status,
        cursor_after=read.cursor,
        reason=read.reason,
        requests=read.requests,
        seen=read.seen,
    )


def skip(start: PollStart, reason: SkipReason, *, now: datetime, regular: float | None) -> Evaluation:
    """The evaluation of a poll that calls no user code; `regular` as in `decide`."""
    row = start.row
    delay = None if start.cause is Cause.MANUAL else regular
    if delay is not None and reason is SkipReason.ABANDONED:
        delay = backoff(row.name, row.consecutive_failures, row.interval or CAP, broken=True)
    return Evaluation(
        start=start,
        eval_id=evaluation_id(start.eval_key, 0),
        status=EvaluationStatus.SKIPPED,
        at=now,
        cursor_after=row.cursor_text,
        failures=row.consecutive_failures,
        faults=row.faults,
        delay=delay,
        reason=reason,
        reason_code=reason,
    )


def _faults(spec: SensorSpec, failures: int, abandoned: int) -> frozenset[Fault]:
    found = set()
    if failures >= spec.break_after:
        found.add(Fault.FAILURES)
    if abandoned >= spec.max_abandoned:
        found.add(Fault.ABANDONED)
    return frozenset(found)


def _delay(start: PollStart, failures: int, faults: frozenset[Fault], regular: float | None) -> float | None:
    row = start.row
    if regular is None or row.interval is None:
        return None
    if failures or faults:
        return backoff(row.name, failures, row.interval, broken=bool(faults))
    in_order = not row.consecutive_failures and not slowing(row.faults)
    return None if start.cause is Cause.MANUAL and in_order else regular


def _read(
    spec: SensorSpec, start: PollStart, outcome: Outcome[Any], identifier: str, catalog: Catalog
) -> _Finding | _Failure:
    answer = outcome.value if outcome.error is None else outcome.error
    if outcome.timed_out:
        return _Failure("timeout")
    if isinstance(answer, PollError):
        return _Failure(answer.code, _text(answer.reason))
    if isinstance(answer, BaseException):
        return _Failure(f"exception:{type(answer).__name__}", _text(answer))
    if not isinstance(answer, Trigger | NoTrigger):
        allowed = "expected poll to answer Trigger, NoTrigger or PollError"
        return _Failure("bad_answer", f"{allowed}, got: {shown(answer)} ({type(answer).__name__})")
    try:
        cursor = start.row.cursor_text if answer.state is KEEP else write_state(spec.sensor, answer.state)
    except ValidationError as error:
        return _Failure("bad_state", str(error))
    seen = tuple(_arrival_key(key) for key in answer.seen)
    if isinstance(answer, NoTrigger):
        reason = None if answer.reason is None else _clean(_text(answer.reason))
        return _Finding(EvaluationStatus.NO_TRIGGER, cursor, reason, seen=seen)
    try:
        requests = tuple(_requests(spec, start, answer, identifier, catalog))
    except FlowstoneError as error:
        return _Failure(error.type, str(error))
    return _Finding(EvaluationStatus.TRIGGERED, cursor, requests=requests, seen=seen)


def _requests(
    spec: SensorSpec, start: PollStart, answer: Trigger, identifier: str, catalog: Catalog
) -> Iterator[Request]:
    source = Source(SourceKind.SENSOR, start.row.name, identifier)
    for number, item in enumerate(answer.items):
        arrival = item if isinstance(item, Arrival) else Arrival(None)
        resolved = resolve(
            catalog,
            _wanted(spec, item),
            default_key=poll_key(start.row.name, identifier, number),
            source=source,
            payload=_checked_payload(arrival.payload),
        )
        key = None if arrival.key is None else _arrival_key(arrival.key)
        yield Request(resolved, decode_partition(resolved.partition), key)


def _wanted(spec: SensorSpec, item: Item) -> RunRequest:
    if isinstance(item, RunRequest):
        return item
    return RunRequest(spec.target, item.partition if isinstance(item, Arrival) else item)


def _checked_payload(payload: Any) -> Any:
    try:
        text = json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"expected the payload to be JSON, got: {shown(payload)} ({error})") from error
    if len(text) > LARGEST_PAYLOAD:
        raise ValidationError(f"expected a payload of at most {LARGEST_PAYLOAD} bytes of JSON, got: {len(text)}")
    return json.loads(text)


def _arrival_key(key: str) -> str:
    return bounded(_storable(key))


def _text(value: object) -> str:
    # User classes may fail to show themselves; the evaluation is recorded all the same.
    try:
        return str(value)
    except Exception:
        return shown(value)


def _clean(text: str) -> str:
    return _storable(text)[:LONGEST_REASON]


def _storable(text: str) -> str:
    """A text that every database can hold."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
