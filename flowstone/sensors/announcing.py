"""Telling of an evaluation, after its commit: the dispatcher, the deliveries, and who subscribed."""

from __future__ import annotations

import logging

from actors import ActorDeadError
from flowstone.runs.services import Services
from flowstone.sensors.messages import Look
from flowstone.sensors.rows import EvaluationStatus
from flowstone.sensors.store import Committed

__all__ = ["TOPIC", "announce", "deliver_soon"]

log = logging.getLogger(__name__)

TOPIC = "sensors"


def announce(services: Services, committed: Committed) -> None:
    """Wake those who go on from here, and publish `("sensor_triggered", name, partition)` for each that arrived."""
    if committed.evaluation.status is EvaluationStatus.TRIGGERED:
        services.wake()
        deliver_soon(services)
        for partition in committed.partitions:
            services.pubsub.publish(TOPIC, ("sensor_triggered", committed.row.name, partition))


def deliver_soon(services: Services) -> None:
    """Tell the deliveries that some are due. An actor that is being restarted looks by itself."""
    deliveries = services.directory.get("deliveries")
    if deliveries is not None:
        try:
            deliveries.tell(Look())
        except ActorDeadError:
            log.debug("the deliveries are being restarted")
