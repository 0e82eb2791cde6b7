"""What one poll or push commits, decided from the sensor's row and the outcome of the call; pure.

The evaluation key is fixed when it starts and kept by every retry of its commit, so that a commit whose answer was lost
finds its own work.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flowstone.core.catalog import Catalog
from flowstone.core.run import Source, SourceKind
from flowstone.core.run_key import message_text, poll_key, push_key
from flowstone.errors import ValidationError
from flowstone.outcome import Outcome
from flowstone.sensors.answers import Failure, Finding, Request, read_answer
from flowstone.sensors.backoff import CAP, backoff
from flowstone.sensors.cursor import write_state
from flowstone.sensors.rows import Cause, EvaluationStatus, Fault, SensorRow, SkipReason, slowing
from flowstone.sensors.sensor import PollError
from flowstone.sensors.spec import SensorSpec

__all__ = [
    "LONGEST_RETRY_AFTER",
    "Evaluation",
    "Start",
    "begin",
    "begin_push",
    "decide",
    "decide_push",
    "evaluation_id",
    "first_cursor",
    "skip",
]

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds that a service may ask a sensor to stay away."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Start:
    """What is fixed when an evaluation starts: the row that it saw and its key.

    `epoch` is that of a timer's poll, `by` who asked for one that somebody asked for.
    """

    row: SensorRow
    cause: Cause
    eval_key: str
    epoch: int | None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a poll or push is to commit; `faults` are those that a poll can tell of.

    `delivers` tells whether a callback is to be called for each request. `delay` is the wait in seconds until the next
    poll by the timer; None leaves the timer as it is. `again` tells that there is more to see at once,
    `retry_after` how many seconds the service asked the sensor to stay away.
    """

    start: Start
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
    delivers: bool = False
    again: bool = False
    retry_after: float | None = None

    @property
    def next_poll_at(self) -> datetime | None:
        """When the timer polls next; None leaves that as it is."""
        return None if self.delay is None else self.at + timedelta(seconds=self.delay)


def begin(row: SensorRow, now: datetime, *, manual: str | None = None, by: str | None = None) -> Start:
    """Fix what a poll that starts now is known by; `manual` is the fresh id of one that `by` asked for.

    The epoch of a poll by the timer never repeats, not even when the clock was set back.
    """
    cursor = "none" if row.cursor_text is None else hashlib.sha256(row.cursor_text.encode()).hexdigest()
    if manual is not None:
        return Start(row, Cause.MANUAL, f"sensor_eval:{row.name}:poll:{manual}:{cursor}", None, by)
    interval = max(1, round((row.interval or 0.0) * 1_000_000))
    epoch = (now - _EPOCH) // _MICROSECOND // interval
    if row.last_epoch is not None:
        epoch = max(epoch, row.last_epoch + 1)
    return Start(row, Cause.POLL, f"sensor_eval:{row.name}:poll:{epoch}:{cursor}", epoch)


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
    start: Start,
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
    name = start.row.name
    read = read_answer(
        spec,
        outcome,
        source=Source(SourceKind.SENSOR, name, identifier),
        key=lambda number: poll_key(name, identifier, number),
        catalog=catalog,
    )
    failures = start.row.consecutive_failures + 1 if isinstance(read, Failure) else 0
    faults = _faults(spec, failures, abandoned)
    delay = _delay(start, failures, faults, regular)
    wait = _retry_after(read) if isinstance(read, Failure) else None
    if wait is not None and delay is not None:
        delay = max(delay, wait)
    undecided = _undecided(spec, start, identifier, now)
    return _with(replace(undecided, failures=failures, faults=faults, delay=delay), read)


def begin_push(row: SensorRow, message_id: str) -> Start:
    """Fix what a pushed message is known by.

    Raises:
        ValidationError: the message id is no text.
    """
    return Start(row, Cause.PUSH, f"sensor_eval:{row.name}:msg:{message_text(message_id)}", None)


def decide_push(
    spec: SensorSpec,
    start: Start,
    outcome: Outcome[Any],
    *,
    message_id: str,
    earlier: int,
    now: datetime,
    catalog: Catalog,
) -> Evaluation:
    """What a pushed message commits; `earlier` counts the evaluations of it that settled nothing.

    A push knows nothing of cursor, failures and timer, and leaves them as they are.
    """
    identifier = evaluation_id(start.eval_key, earlier)
    name = start.row.name
    read = read_answer(
        spec,
        outcome,
        source=Source(SourceKind.SENSOR, name, identifier),
        key=lambda number: push_key(name, message_id, number),
        catalog=catalog,
    )
    # A state that comes with the answer is that of a poll, which a push never touches.
    return replace(_with(_undecided(spec, start, identifier, now), read), cursor_after=start.row.cursor_text)


def _undecided(spec: SensorSpec, start: Start, identifier: str, now: datetime) -> Evaluation:
    return Evaluation(
        start=start,
        eval_id=identifier,
        status=EvaluationStatus.ERROR,
        at=now,
        cursor_after=start.row.cursor_text,
        failures=start.row.consecutive_failures,
        faults=start.row.faults,
        delay=None,
        lookback=spec.sensor.lookback,
        delivers=spec.on_trigger is not None,
    )


def _with(evaluation: Evaluation, read: Finding | Failure) -> Evaluation:
    if isinstance(read, Failure):
        return replace(evaluation, reason=read.reason, reason_code=read.code, retry_after=_retry_after(read))
    return replace(
        evaluation,
        status=read.status,
        cursor_after=evaluation.cursor_after if read.cursor is None else read.cursor,
        reason=read.reason,
        requests=read.requests,
        seen=read.seen,
        # While there is more to see, the sensor has not come to all that it would keep known by seeing it again.
        lookback=None if read.again else evaluation.lookback,
        again=read.again,
    )


def _retry_after(failure: Failure) -> float | None:
    """Seconds that the service asked for, a day at the most."""
    return None if failure.retry_after is None else min(max(failure.retry_after, 0.0), LONGEST_RETRY_AFTER)


def skip(
    start: Start, reason: SkipReason, *, now: datetime, regular: float | None = None, earlier: int = 0
) -> Evaluation:
    """The evaluation of a poll or push that calls no user code; `regular` and `earlier` as above."""
    row = start.row
    delay = regular if start.cause is Cause.POLL else None
    if delay is not None and reason is SkipReason.ABANDONED:
        delay = backoff(row.name, row.consecutive_failures, row.interval or CAP, broken=True)
    return Evaluation(
        start=start,
        eval_id=evaluation_id(start.eval_key, earlier),
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


def _delay(start: Start, failures: int, faults: frozenset[Fault], regular: float | None) -> float | None:
    row = start.row
    if regular is None or row.interval is None:
        return None
    if failures or faults:
        return backoff(row.name, failures, row.interval, broken=bool(faults))
    in_order = not row.consecutive_failures and not slowing(row.faults)
    return None if start.cause is Cause.MANUAL and in_order else regular
