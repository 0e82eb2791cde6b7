"""What a sensor answered: a failure, or what is to be committed; pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowstone.core.catalog import Catalog
from flowstone.core.partitions import Partition, decode_partition, encode_partition
from flowstone.core.run import RunRequest, Source
from flowstone.core.run_key import bounded
from flowstone.errors import FlowstoneError, ValidationError, shown, storable, text_of
from flowstone.outcome import Outcome
from flowstone.runs.requests import ResolvedRequest, resolve
from flowstone.sensors.cursor import write_state
from flowstone.sensors.rows import EvaluationStatus
from flowstone.sensors.sensor import KEEP, Arrival, Item, NoTrigger, PollError, Trigger
from flowstone.sensors.spec import SensorSpec

__all__ = ["LARGEST_PAYLOAD", "Failure", "Finding", "Request", "arrival_key", "failure_of", "read_answer"]

LARGEST_PAYLOAD = 64 * 1024
"""Bytes of JSON that an arrival may carry."""

LONGEST_REASON = 2000
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that arrived: the run that it asks for, if any, and what a callback gets.

    `arrival` is the key by which it is known again.
    """

    partition: Partition
    payload: Any
    resolved: ResolvedRequest | None
    arrival: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing can be committed: a stable code, and a text for people; `retry_after` is a wait in seconds."""

    code: str
    text: str = ""
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """The code, then the text."""
        return _clean(f"{self.code}: {self.text}" if self.text else self.code)


@dataclass(frozen=True, slots=True)
class Finding:
    """What can be committed; `cursor` is None where the state stays as it is, `again` tells that there is more."""

    status: EvaluationStatus
    cursor: str | None
    reason: str | None = None
    requests: tuple[Request, ...] = ()
    seen: tuple[str, ...] = ()
    again: bool = False


def read_answer(
    spec: SensorSpec, outcome: Outcome[Any], *, source: Source, key: Callable[[int], str], catalog: Catalog
) -> Finding | Failure:
    """What the outcome of a call means; `key` gives the run key of the n-th request."""
    answer = outcome.value if outcome.error is None else outcome.error
    if isinstance(answer, PollError):
        return Failure(answer.code, text_of(answer.reason), answer.retry_after)
    failure = failure_of(outcome)
    if failure is not None:
        return failure
    if not isinstance(answer, Trigger | NoTrigger):
        allowed = "expected poll to answer Trigger, NoTrigger or PollError"
        return Failure("bad_answer", f"{allowed}, got: {shown(answer)} ({type(answer).__name__})")
    try:
        cursor = None if answer.state is KEEP else write_state(spec.sensor, answer.state)
    except ValidationError as error:
        return Failure("bad_state", str(error))
    seen = tuple(arrival_key(key) for key in answer.seen)
    if isinstance(answer, NoTrigger):
        reason = None if answer.reason is None else _clean(text_of(answer.reason))
        return Finding(EvaluationStatus.NO_TRIGGER, cursor, reason, seen=seen, again=answer.again)
    try:
        requests = tuple(
            _request(spec, item, source=source, key=key(number), catalog=catalog)
            for number, item in enumerate(answer.items)
        )
    except FlowstoneError as error:
        return Failure(error.type, str(error))
    return Finding(EvaluationStatus.TRIGGERED, cursor, requests=requests, seen=seen, again=answer.again)


def failure_of(outcome: Outcome[Any]) -> Failure | None:
    """Why a call gave no answer; None when it gave one."""
    if outcome.timed_out:
        return Failure("timeout")
    if outcome.error is None:
        return None
    return Failure(f"exception:{type(outcome.error).__name__}", text_of(outcome.error))


def _request(spec: SensorSpec, item: Item, *, source: Source, key: str, catalog: Catalog) -> Request:
    arrival = item if isinstance(item, Arrival) else Arrival(None if isinstance(item, RunRequest) else item)
    payload = _checked_payload(arrival.payload)
    known = None if arrival.key is None else arrival_key(arrival.key)
    if isinstance(item, RunRequest):
        wanted = item
    elif spec.target is None:
        return Request(decode_partition(encode_partition(arrival.partition)), payload, None, known)
    else:
        wanted = RunRequest(spec.target, arrival.partition)
    resolved = resolve(catalog, wanted, default_key=key, source=source, payload=payload, dedupe=spec.dedupe)
    return Request(decode_partition(resolved.partition), payload, resolved, known)


def _checked_payload(payload: Any) -> Any:
    if payload is None:
        return None
    try:
        text = json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"expected the payload to be JSON, got: {shown(payload)} ({error})") from error
    if len(text) > LARGEST_PAYLOAD:
        raise ValidationError(f"expected a payload of at most {LARGEST_PAYLOAD} bytes of JSON, got: {len(text)}")
    return json.loads(text)


def arrival_key(key: str) -> str:
    """The key of an arrival as it is stored: short, and nothing that a database can't hold."""
    return bounded(storable(key))


def _clean(text: str) -> str:
    return storable(text)[:LONGEST_REASON]
