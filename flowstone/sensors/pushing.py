"""Pushing a message to a sensor: evaluated under its id, once, and told of after the commit.

No actor takes part, so a push works wherever the store is open. The sensor's code runs on the executor; the caller
waits. Whoever lost the answer pushes the message again under its id, and finds its own work done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowstone.errors import ExecutionError, ValidationError, shown
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors import store
from flowstone.sensors.announcing import announce
from flowstone.sensors.builtin.push import Push
from flowstone.sensors.evaluation import begin_push
from flowstone.sensors.polling import call_receive, push_name
from flowstone.sensors.recording import recorded
from flowstone.sensors.rows import SETTLED, EvaluationRow, SkipReason
from flowstone.sensors.spec import SensorSpec
from flowstone.state.connection import Connection

__all__ = ["push"]


def push(services: Services, spec: SensorSpec, message: Any, message_id: str | None) -> EvaluationRow:
    """The evaluation of a message, committed.

    Raises:
        SensorNotFound: the sensor was removed.
        ValidationError: the sensor is polled, or there is no message id, or it is no text.
        ExecutionError: the function that computes the message id raised or hung.
        StoreUnavailable: the store failed; whether the push was committed, another one of the same id tells.
    """
    sensor = spec.sensor
    if not isinstance(sensor, Push):
        raise ValidationError(f"expected sensor {spec.name!r} to be a Push, which takes messages; it is polled")
    identifier = _message_id(services, spec, sensor, message, message_id)

    def settled(connection: Connection) -> EvaluationRow | SkipReason | None:
        start = begin_push(store.read(connection, spec.name), identifier)
        found = [row for row in recorded(connection, start.eval_key) if row.status in SETTLED]
        return found[0] if found else SkipReason.PAUSED if start.row.paused else None

    found = services.database.read(settled)
    if isinstance(found, EvaluationRow):
        return found
    outcome = found or _received(services, spec, sensor, message)
    failpoint("push.after_call")
    now = services.clock.now()
    committed = services.database.transact(
        lambda connection: store.commit_push(
            connection,
            spec,
            outcome,
            message_id=identifier,
            now=now,
            catalog=services.catalog,
            identity=services.identity,
        )
    )
    failpoint("push.after_commit")
    announce(services, committed, duration=outcome.duration if isinstance(outcome, Outcome) else 0.0)
    failpoint("push.after_announcement")
    return committed.evaluation


def _message_id(services: Services, spec: SensorSpec, sensor: Push, message: Any, given: str | None) -> str:
    identifier: object = given
    if given is None and sensor.message_id is not None:
        outcome = _called(services, spec, sensor.message_id, message)
        if not outcome.ok:
            text = f"no message id could be computed for sensor {spec.name!r}: {outcome.error or 'timeout'}"
            raise ExecutionError(text, name=spec.name) from outcome.error
        identifier = outcome.value
    if not isinstance(identifier, str) or not identifier:
        expected = f"expected a message_id of text for sensor {spec.name!r}, or a Push(message_id=function)"
        raise ValidationError(f"{expected}, got: {shown(identifier)}", name=spec.name)
    return identifier


def _received(services: Services, spec: SensorSpec, sensor: Push, message: Any) -> Outcome[Any] | SkipReason:
    given_up = sum(call.name == push_name(spec) for call in services.polls.abandoned())
    if given_up >= spec.max_abandoned:
        return SkipReason.ABANDONED
    return _called(services, spec, call_receive, spec, sensor, message)


def _called(services: Services, spec: SensorSpec, function: Callable[..., Any], *args: Any) -> Outcome[Any]:
    answered = services.future()
    services.polls.submit(function, *args, timeout=spec.timeout, name=push_name(spec), then=answered.set)
    outcome: Outcome[Any] = answered.get()
    return outcome
