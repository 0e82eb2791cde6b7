"""Which implementation keeps a queue: the one that made it, as its row tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowstone.connectors.function_queue import FUNCTIONS, PGMQ
from flowstone.connectors.message import Message, Metrics, QueueRow
from flowstone.connectors.table_queue import TableQueues
from flowstone.errors import ValidationError, did_you_mean
from flowstone.state.connection import Connection
from flowstone.state.fields import instant

__all__ = ["Queues", "create", "every", "keeper"]

# The queues of pgmq belong to the whole database: of its stores, the one in the usual schema has them.
_HAS_PGMQ = "select 1 where to_regprocedure('pgmq.create(text)') is not null and current_schema() = 'public'"
_TABLES = TableQueues()


class Queues(Protocol):
    """The operations on queues within a transaction, the same on every database."""

    kind: str

    def create(self, connection: Connection, queue: str) -> None:
        """Make a queue, which has no row yet."""

    def drop(self, connection: Connection, queue: str) -> None:
        """Remove a queue and all that is in it."""

    def send(
        self, connection: Connection, queue: str, messages: Sequence[str], headers: str | None, delay: float
    ) -> list[int]:
        """Add messages, as JSON texts; their ids."""

    def read(self, connection: Connection, queue: str, vt: float, qty: int) -> list[Message]:
        """Up to `qty` visible messages, which nobody else sees for `vt` seconds."""

    def pop(self, connection: Connection, queue: str, qty: int) -> list[Message]:
        """Up to `qty` visible messages, which are gone."""

    def archive(self, connection: Connection, queue: str, ids: Sequence[int]) -> list[int]:
        """Move messages to the archive; the ids of those that were there."""

    def delete(self, connection: Connection, queue: str, ids: Sequence[int]) -> list[int]:
        """Delete messages; the ids of those that were there."""

    def set_vt(self, connection: Connection, queue: str, id: int, after: float) -> Message | None:
        """Let a message be visible after so many seconds from now; None when it is gone."""

    def holds(self, connection: Connection, queue: str, message: Message) -> bool:
        """Whether nobody has read or removed a message since it was read."""

    def next_in(self, connection: Connection, queue: str) -> float | None:
        """Seconds until the next message is visible, negative when one is; None when the queue is empty."""

    def purge(self, connection: Connection, queue: str) -> int:
        """Delete all messages; how many."""

    def metrics(self, connection: Connection, queue: str) -> Metrics:
        """What is known of a queue."""


def every(connection: Connection) -> tuple[QueueRow, ...]:
    """All queues, by name."""
    rows = connection.execute("select name, kind, created_at from queue order by name")
    return tuple(QueueRow(row.name, row.kind, instant(row.created_at)) for row in rows)


def create(connection: Connection, queue: str) -> None:
    """Make a queue, kept by pgmq where that is installed; nothing when there is one of this name."""
    if _kind(connection, queue) is None:
        _newest(connection).create(connection, queue)


def keeper(connection: Connection, queue: str) -> Queues:
    """Who keeps a queue.

    Raises:
        ValidationError: it was never created.
    """
    kind = _kind(connection, queue)
    if kind is None:
        hint = did_you_mean(queue, [row.name for row in every(connection)])
        raise ValidationError(f"expected a queue that was created, got: {queue!r}{hint}; create() it first", name=queue)
    if connection.dialect == "sqlite":
        return _TABLES
    return PGMQ if kind == PGMQ.kind else FUNCTIONS


def _kind(connection: Connection, queue: str) -> str | None:
    rows = connection.execute("select kind from queue where name = :queue", queue=queue)
    return rows[0].kind if rows else None


def _newest(connection: Connection) -> Queues:
    if connection.dialect == "sqlite":
        return _TABLES
    return PGMQ if connection.execute(_HAS_PGMQ) else FUNCTIONS
