"""A poll without an actor: beside the node that polls the sensor, by another node or a client, or while none runs.

The sensor's code is called on the executor of this process while the caller waits, and what it saw is committed by the
transactions of the sensor's actor. Should the service poll the sensor at the same time, one of the two finds the state
moved on, and is recorded as stale: the cursor takes each step once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from actors import AskTimeout
from flowstone.errors import TimeoutExceeded, ValidationError
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors import store
from flowstone.sensors.announcing import announce
from flowstone.sensors.around import Around
from flowstone.sensors.cursor import read_state
from flowstone.sensors.evaluation import Evaluation, Start, begin, decide, first_cursor, skip
from flowstone.sensors.polling import call_init, call_name, call_poll
from flowstone.sensors.rows import EvaluationRow, SensorRow, SkipReason
from flowstone.sensors.sensor import PollError
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.store import Committed

__all__ = ["poll_beside"]


def poll_beside(
    services: Services, spec: SensorSpec, limit: float | None = None, by: str | None = None
) -> EvaluationRow:
    """The evaluation of a poll that this process makes, committed; `limit` is the wait for its calls, in seconds.

    `by` names who asks, for the audit.

    Raises:
        SensorNotFound: the sensor was removed.
        TimeoutExceeded: the limit passed, which leaves no trace.
        StoreUnavailable: the store failed.
    """
    committed, duration = _polled(services, spec, limit, by)
    announce(services, committed, duration=duration)
    return committed.evaluation


def _polled(services: Services, spec: SensorSpec, limit: float | None, by: str | None) -> tuple[Committed, float]:
    """The evaluation, committed, and the seconds that the sensor's code took."""
    row = services.database.read(lambda connection: store.read(connection, spec.name))
    while row.cursor_text is None and not row.paused:
        outcome = _waited(services, spec, partial(call_init, spec, Around(services, spec)), limit)
        first = first_cursor(spec, outcome)
        if not isinstance(first, str):
            return _commit(services, _decided(services, spec, _begin(services, row, by), first)), outcome.duration
        row = services.database.transact(partial(store.initialise, row=row, cursor=first))
    start = _begin(services, row, by)
    if row.paused:
        return _commit(services, skip(start, SkipReason.PAUSED, now=services.clock.now())), 0.0
    outcome = _called(services, spec, row.cursor_text or "", limit)
    return _commit(services, _decided(services, spec, start, outcome)), outcome.duration


def _begin(services: Services, row: SensorRow, by: str | None) -> Start:
    return begin(row, services.clock.now(), manual=services.fresh_id(), by=by)


def _commit(services: Services, evaluation: Evaluation) -> Committed:
    return services.database.transact(partial(store.commit, evaluation=evaluation, identity=services.identity))


def _called(services: Services, spec: SensorSpec, cursor: str, limit: float | None) -> Outcome[Any]:
    try:
        state = read_state(spec.sensor, cursor)
    except ValidationError as error:
        return Outcome(value=PollError(error, code="bad_cursor"))
    return _waited(services, spec, partial(call_poll, spec, state, Around(services, spec)), limit)


def _decided(services: Services, spec: SensorSpec, start: Start, outcome: Outcome[Any]) -> Evaluation:
    # What is abandoned here ends with this process: it is no fault of the sensor's in the service.
    return decide(
        spec,
        start,
        outcome,
        now=services.clock.now(),
        regular=spec.every,
        abandoned=0,
        catalog=services.catalog,
    )


def _waited(services: Services, spec: SensorSpec, call: partial[Any], limit: float | None) -> Outcome[Any]:
    answered = services.future()
    services.polls.submit(call, timeout=spec.timeout, name=call_name(spec), then=answered.set)
    try:
        outcome: Outcome[Any] = answered.get(timeout=limit)
    except AskTimeout as error:
        message = f"the poll of sensor {spec.name!r} did not end within {limit:g} s"
        raise TimeoutExceeded(message, name=spec.name) from error
    return outcome
