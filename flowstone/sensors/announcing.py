"""Telling of an evaluation, after its commit: telemetry, the dispatcher, the deliveries, and who subscribed."""

from __future__ import annotations

import logging
from contextlib import suppress

from actors import ActorDeadError
from flowstone.errors import RuntimeStopped
from flowstone.outcome import Outcome
from flowstone.runs.events import requested
from flowstone.runs.services import Services
from flowstone.sensors.messages import Look
from flowstone.sensors.rows import EvaluationStatus
from flowstone.sensors.store import Committed
from flowstone.telemetry import Telemetry

__all__ = ["TOPIC", "announce", "announce_all", "deliver_soon"]

log = logging.getLogger(__name__)

TOPIC = "sensors"


def announce(services: Services, committed: Committed, *, duration: float, lateness: float = 0.0) -> None:
    """Wake those who go on from here, and publish `("sensor_triggered", name, partition)` for each that arrived.

    The seconds that the sensor's code took, and that the poll was late, are told to telemetry.
    """
    if services.telemetry.active:
        _measure(services.telemetry, committed, duration, lateness)
        requested(services, *committed.requested)
    if committed.evaluation.status is EvaluationStatus.TRIGGERED:
        services.wake()
        deliver_soon(services)
        for partition in committed.partitions:
            services.pubsub.publish(TOPIC, ("sensor_triggered", committed.row.name, partition))


def announce_all(services: Services) -> None:
    """Wake those who go on from what an actor that crashed had written, and could not tell of."""

    def wake(_outcome: Outcome[None]) -> None:
        services.wake()
        deliver_soon(services)

    # Queued behind whatever that actor had queued, so that this is committed, or has failed, by then.
    with suppress(RuntimeStopped):
        services.database.write(lambda connection: None, then=wake)


def deliver_soon(services: Services) -> None:
    """Tell the deliveries that some are due. An actor that is being restarted looks by itself."""
    deliveries = services.directory.get("deliveries")
    if deliveries is not None:
        try:
            deliveries.tell(Look())
        except ActorDeadError:
            log.debug("the deliveries are being restarted")


def _measure(telemetry: Telemetry, committed: Committed, duration: float, lateness: float) -> None:
    row = committed.evaluation
    about = {
        "sensor": row.sensor,
        "eval_id": row.eval_id,
        "cause": row.cause,
        "status": row.status,
        "reason": row.reason,
        "reason_code": row.reason_code,
    }
    counts = {"request_count": row.request_count, "duplicate_count": row.duplicate_count}
    telemetry.emit("flowstone.sensor.evaluated", {"duration": duration, "lateness": lateness, **counts}, about)
    if row.status is EvaluationStatus.ERROR:
        measured = {"duration": duration, "failures": committed.row.consecutive_failures}
        telemetry.emit("flowstone.sensor.error", measured, about)
    for partition in committed.partitions if row.status is EvaluationStatus.TRIGGERED else ():
        told = {"sensor": row.sensor, "eval_id": row.eval_id, "partition": partition}
        telemetry.emit("flowstone.sensor.triggered", {"count": 1}, told)
