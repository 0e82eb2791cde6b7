"""The audit's rows: written within the transaction of what they record, read by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowstone.state.connection import Connection, Row
from flowstone.state.fields import Json, instant, json_value
from flowstone.state.page import Page
from flowstone.state.page import page as page_of

__all__ = ["AuditRow", "page", "record"]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that was done: `event_type` to `resource` by `actor`."""

    id: int
    event_type: str
    actor: str
    resource: str
    details: Any
    at: datetime


def record(
    connection: Connection,
    event_type: str,
    *,
    actor: str,
    resource: str,
    details: Mapping[str, object] | None = None,
    at: datetime,
) -> None:
    """Add a row, in the transaction that does what it tells of."""
    connection.execute(
        "insert into audit (event_type, actor, resource, details, at) "
        "values (:event_type, :actor, :resource, :details, :at)",
        event_type=event_type,
        actor=actor,
        resource=resource,
        details=Json(dict(details or {})),
        at=at,
    )


def page(
    connection: Connection,
    *,
    event_type: str | None = None,
    actor: str | None = None,
    resource: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[AuditRow]:
    """Rows newest first, `limit` at a time; `cursor` is the `next_cursor` of the page before.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    filters = {"event_type": event_type, "actor": actor, "resource": resource}
    return page_of(connection, "audit", _row, filters, since=since, limit=limit, cursor=cursor)


def _row(row: Row) -> AuditRow:
    return AuditRow(row.id, row.event_type, row.actor, row.resource, json_value(row.details), instant(row.at))
