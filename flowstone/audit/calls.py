"""Calls about the audit: who did what to what. From any thread."""

from __future__ import annotations

from datetime import datetime

from flowstone.audit.store import AuditRow, page
from flowstone.errors import ValidationError, shown
from flowstone.state.database import Database
from flowstone.state.page import Page

__all__ = ["AuditLog"]


class AuditLog:
    """The group of calls `runtime.audit`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(
        self,
        *,
        event_type: str | None = None,
        actor: str | None = None,
        resource: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditRow]:
        """Rows newest first, a page at a time; those at `since`, an aware instant, and later ones.

        Raises:
            ValidationError: a cursor that no page gave, a limit below 1, or a `since` that is no aware instant.
        """
        if since is not None and not isinstance(since, datetime):
            raise ValidationError(f"expected since to be an aware datetime, got: {shown(since)}", option="since")
        return self._database.read(
            lambda connection: page(
                connection,
                event_type=event_type,
                actor=actor,
                resource=resource,
                since=since,
                limit=limit,
                cursor=cursor,
            )
        )
