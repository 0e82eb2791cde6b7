"""Letting a sensor release what it holds when it is removed or the runtime stops."""

from __future__ import annotations

import logging
from typing import Any

from actors import Future
from flowstone.errors import RuntimeStopped
from flowstone.executors.threads import ThreadExecutor
from flowstone.outcome import Outcome
from flowstone.sensors.book import PollGate
from flowstone.sensors.polling import call_cleanup, has_cleanup
from flowstone.sensors.spec import SensorSpec

__all__ = ["SHUTDOWN", "clean_up"]

log = logging.getLogger(__name__)

SHUTDOWN = 5.0
"""Real seconds that a sensor's actor has to stop."""

_PATIENCE = SHUTDOWN * 0.8


def clean_up(executor: ThreadExecutor, spec: SensorSpec, gate: PollGate, state: Any, done: Future[Any]) -> None:
    """Call the sensor's cleanup and wait for it, less long than the shutdown; what takes longer goes on by itself.

    A poll that is in progress ends first. What goes wrong is logged: the sensor stops all the same.
    """
    if not has_cleanup(spec):
        return

    def then(outcome: Outcome[Any]) -> None:
        gate.leave()
        if not outcome.ok:
            log.error("cleanup of sensor %s failed: %r", spec.name, outcome.error or "timeout")
        done.offer(None)

    def enter() -> None:
        if gate.enter(enter):
            try:
                executor.submit(
                    call_cleanup, spec, state, timeout=spec.timeout, name=f"sensor {spec.name} cleanup", then=then
                )
            except RuntimeStopped as error:
                then(Outcome(error=error))

    enter()
    done.settled(_PATIENCE)
