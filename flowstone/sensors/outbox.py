"""The outbox: calls of callbacks that are to be delivered, at least once, whatever process dies.

A delivery is written in the transaction of its evaluation. One that fails is tried again ever later, and after
`MOST_ATTEMPTS`, some six hours, it is parked as `failed`, for people to look at and to retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowstone.audit.store import record
from flowstone.core.partitions import Partition, decode_partition
from flowstone.errors import ValidationError, shown
from flowstone.failpoints import failpoint
from flowstone.sensors.backoff import spread
from flowstone.sensors.rows import DeliveryStatus
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_value
from flowstone.state.page import Page, page

__all__ = [
    "MOST_ATTEMPTS",
    "Delivery",
    "Due",
    "Waiting",
    "conclude",
    "due",
    "list_deliveries",
    "pause_after",
    "retry",
    "waiting",
]

MOST_ATTEMPTS = 12
"""Attempts after which a delivery is parked."""

FIRST_PAUSE = 10.0
LONGEST_PAUSE = 3600.0
GROWTH = 3.0

_OLDEST_DUE = """
    select * from outbox where id in (
        select min(id) from outbox where status = 'pending' and next_at <= :now group by sensor
    ) order by id
"""
_NEXT = "select min(next_at) as next_at from outbox where status = 'pending' and next_at > :now"
_WAITING = """
    select sensor, count(*) as due, min(next_at) as oldest,
        (select max(delivered_at) from outbox d where d.sensor = outbox.sensor) as delivered_at
    from outbox where status = 'pending' and next_at <= :now group by sensor
"""
_CONCLUDE = """
    update outbox set
        status = :status, attempts = :attempts, next_at = :next_at, error = :error, delivered_at = :delivered_at
    where id = :id and status = 'pending'
"""
_RETRY = """
    update outbox set status = 'pending', attempts = 0, next_at = :now
    where id = :id and status <> 'delivered' returning *
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call of a callback: for which partition, how often it was tried, and what went wrong the last time."""

    id: int
    sensor: str
    evaluation_id: str
    partition: Partition
    payload: Any
    status: DeliveryStatus
    attempts: int
    error: str | None
    next_at: datetime | None
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """The oldest delivery of each sensor that is due, and when the next one of the others is."""

    deliveries: tuple[Delivery, ...]
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Deliveries of one sensor that are due: how many, since when the first, and when one was delivered last."""

    count: int
    oldest: datetime
    delivered_at: datetime | None


def waiting(connection: Connection, now: datetime) -> dict[str, Waiting]:
    """The sensors whose deliveries are due, by name."""
    rows = connection.execute(_WAITING, now=now)
    return {row.sensor: Waiting(row.due, instant(row.oldest), instant(row.delivered_at)) for row in rows}


def due(connection: Connection, now: datetime) -> Due:
    """What may be delivered now: one for each sensor, so that its callback is called in order."""
    rows = connection.execute(_OLDEST_DUE, now=now)
    return Due(tuple(_delivery(row) for row in rows), instant(connection.execute(_NEXT, now=now)[0].next_at))


def pause_after(sensor: str, attempts: int) -> float:
    """Seconds to wait after so many attempts that failed.

    >>> [round(pause_after("orders", n), -1) for n in (1, 2, 12)] <= [11, 33, 3960]
    True
    """
    return spread(sensor, attempts, min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** (attempts - 1)))


def conclude(connection: Connection, delivery: Delivery, error: str | None, now: datetime) -> None:
    """Write what came of a call: it is delivered, to be tried again, or parked."""
    attempts = delivery.attempts + 1
    status, next_at = DeliveryStatus.DELIVERED, None
    if error is not None and attempts >= MOST_ATTEMPTS:
        status = DeliveryStatus.FAILED
    elif error is not None:
        status, next_at = DeliveryStatus.PENDING, now + timedelta(seconds=pause_after(delivery.sensor, attempts))
    connection.execute(
        _CONCLUDE,
        id=delivery.id,
        status=status,
        attempts=attempts,
        next_at=next_at,
        error=error,
        delivered_at=now if error is None else None,
    )
    failpoint("delivery.before_commit")


def list_deliveries(
    connection: Connection, sensor: str, *, status: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Delivery]:
    """The deliveries of a sensor, newest first.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    filters = {"sensor": sensor, "status": status}
    return page(connection, "outbox", _delivery, filters, limit=limit, cursor=cursor)


def retry(connection: Connection, id: int, *, actor: str, now: datetime) -> Delivery:
    """Make a delivery that is parked, or waits, due now; its attempts are counted from the beginning.

    Raises:
        ValidationError: there is no such delivery, or it is delivered already.
    """
    retried = connection.execute(_RETRY, id=id, now=now)
    if not retried:
        raise ValidationError(f"expected the id of a delivery that is pending or failed, got: {shown(id)}")
    delivery = _delivery(retried[0])
    resource, details = f"sensor:{delivery.sensor}", {"delivery": delivery.id}
    record(connection, "sensor.delivery_retried", actor=actor, resource=resource, details=details, at=now)
    return delivery


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=row.id,
        sensor=row.sensor,
        evaluation_id=row.eval_id,
        partition=decode_partition(row.partition),
        payload=json_value(row.payload),
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        error=row.error,
        next_at=instant(row.next_at),
        created_at=instant(row.created_at),
        delivered_at=instant(row.delivered_at),
    )
