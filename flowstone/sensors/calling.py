"""A call of a sensor's code by its actor: whether it may be made now, and how what comes of it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowstone.errors import RuntimeStopped
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors.book import PollGate
from flowstone.sensors.job import Job, Purpose
from flowstone.sensors.messages import Called, CallEnded
from flowstone.sensors.polling import call_name
from flowstone.sensors.rows import SensorRow, SkipReason
from flowstone.sensors.spec import SensorSpec

__all__ = ["abandoned_of", "obstacle_to", "submit"]


def abandoned_of(services: Services, spec: SensorSpec) -> int:
    """How many calls of a sensor were given up and still run."""
    name = call_name(spec)
    return sum(call.name == name for call in services.polls.abandoned())


def obstacle_to(job: Job, row: SensorRow, spec: SensorSpec, *, backlog: bool, abandoned: int) -> SkipReason | None:
    """Why a poll calls no user code, or None; a backlog holds back the timer alone."""
    if row.paused:
        return SkipReason.PAUSED
    if abandoned >= spec.max_abandoned:
        return SkipReason.ABANDONED
    return SkipReason.BACKPRESSURE if backlog and job.purpose is Purpose.TIMER else None


def submit(
    services: Services,
    spec: SensorSpec,
    gate: PollGate,
    call: Callable[[], Any],
    generation: int,
    *,
    post: Callable[[object], None],
) -> None:
    """Make a call, for which `gate` was entered, on the executor; `Called`, and perhaps `CallEnded`, are posted.

    Raises:
        RuntimeStopped: the executor stops; the gate is left.
    """
    given_up = False

    def then(outcome: Outcome[Any]) -> None:
        nonlocal given_up
        given_up = outcome.timed_out
        gate.leave()
        post(Called(generation, outcome))

    def ended() -> None:
        if given_up:
            post(CallEnded())

    try:
        services.polls.submit(call, timeout=spec.timeout, name=call_name(spec), then=then, ended=ended)
    except RuntimeStopped:
        gate.leave()
        raise
