"""Queues in tables of SQLite, on which one process writes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flowstone.connectors.message import Message, Metrics
from flowstone.errors import ValidationError
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_value

__all__ = ["KIND", "TableQueues"]

KIND = "flowstone"

_NOW = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"
_LATER = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', :after)"

_COUNT = "update queue set sent = sent + :count where name = :queue"
_SENT = "select sent from queue where name = :queue"
_SEND = f"""
    insert into queue_message (queue, msg_id, read_ct, enqueued_at, vt, message, headers)
    values (:queue, :msg_id, 0, {_NOW}, {_LATER}, :message, :headers)
"""
_VISIBLE = f"""
    select msg_id from queue_message where queue = :queue and vt <= {_NOW} order by vt, msg_id limit :qty
"""
_TAKE = f"""
    update queue_message set read_ct = read_ct + 1, last_read_at = {_NOW}, vt = {_LATER}
    where queue = :queue and msg_id = :msg_id
"""
_ONE = "select * from queue_message where queue = :queue and msg_id = :msg_id"
_DELETE = "delete from queue_message where queue = :queue and msg_id = :msg_id"
_ARCHIVE = f"""
    insert into queue_archive (queue, msg_id, read_ct, enqueued_at, last_read_at, archived_at, vt, message, headers)
    select queue, msg_id, read_ct, enqueued_at, last_read_at, {_NOW}, vt, message, headers
    from queue_message where queue = :queue and msg_id = :msg_id
"""
_SET = f"update queue_message set vt = {_LATER} where queue = :queue and msg_id = :msg_id"
_HELD = "select read_ct from queue_message where queue = :queue and msg_id = :msg_id"
_NEXT = "select (julianday(min(vt)) - julianday('now')) * 86400 as seconds from queue_message where queue = :queue"
_METRICS = f"""
    select count(*) as length, coalesce(sum(vt <= {_NOW}), 0) as visible, {_NOW} as now,
        min(enqueued_at) as oldest, max(enqueued_at) as newest
    from queue_message where queue = :queue
"""


class TableQueues:
    """The operations on queues, within a transaction; what they mean is told by `queue_calls.Queue`."""

    kind = KIND

    def create(self, connection: Connection, queue: str) -> None:
        """Make a queue, which has no row yet."""
        connection.execute(
            f"insert into queue (name, kind, sent, created_at) values (:queue, :kind, 0, {_NOW})",
            queue=queue,
            kind=KIND,
        )

    def drop(self, connection: Connection, queue: str) -> None:
        """Remove a queue and all that is in it."""
        for table in ("queue_message", "queue_archive"):
            connection.execute(f"delete from {table} where queue = :queue", queue=queue)
        connection.execute("delete from queue where name = :queue", queue=queue)

    def send(
        self, connection: Connection, queue: str, messages: Sequence[str], headers: str | None, delay: float
    ) -> list[int]:
        """Add messages, as JSON texts; their ids."""
        if not connection.change(_COUNT, queue=queue, count=len(messages)):
            raise ValidationError(f"expected a queue that was created, got: {queue!r}", name=queue)
        last = connection.execute(_SENT, queue=queue)[0].sent
        ids = list(range(last - len(messages) + 1, last + 1))
        common = {"queue": queue, "after": _after(delay), "headers": headers}
        connection.executemany(
            _SEND, [{**common, "msg_id": id, "message": text} for id, text in zip(ids, messages, strict=True)]
        )
        return ids

    def read(self, connection: Connection, queue: str, vt: float, qty: int) -> list[Message]:
        """Up to `qty` visible messages, which nobody else sees for `vt` seconds."""
        taken = []
        for row in connection.execute(_VISIBLE, queue=queue, qty=qty):
            connection.execute(_TAKE, queue=queue, msg_id=row.msg_id, after=_after(vt))
            taken += connection.execute(_ONE, queue=queue, msg_id=row.msg_id)
        return [_message(row) for row in taken]

    def pop(self, connection: Connection, queue: str, qty: int) -> list[Message]:
        """Up to `qty` visible messages, which are gone."""
        popped = []
        for row in connection.execute(_VISIBLE, queue=queue, qty=qty):
            popped += connection.execute(_ONE, queue=queue, msg_id=row.msg_id)
            connection.execute(_DELETE, queue=queue, msg_id=row.msg_id)
        return [_message(row) for row in popped]

    def archive(self, connection: Connection, queue: str, ids: Sequence[int]) -> list[int]:
        """Move messages to the archive; the ids of those that were there."""
        return [
            id
            for id in dict.fromkeys(ids)
            if connection.change(_ARCHIVE, queue=queue, msg_id=id)
            and connection.change(_DELETE, queue=queue, msg_id=id)
        ]

    def delete(self, connection: Connection, queue: str, ids: Sequence[int]) -> list[int]:
        """Delete messages; the ids of those that were there."""
        return [id for id in dict.fromkeys(ids) if connection.change(_DELETE, queue=queue, msg_id=id)]

    def set_vt(self, connection: Connection, queue: str, id: int, after: float) -> Message | None:
        """Let a message be visible after so many seconds from now; None when it is gone."""
        connection.execute(_SET, queue=queue, msg_id=id, after=_after(after))
        rows = connection.execute(_ONE, queue=queue, msg_id=id)
        return _message(rows[0]) if rows else None

    def holds(self, connection: Connection, queue: str, message: Message) -> bool:
        """Whether nobody has read or removed a message since it was read; so it stays until the transaction ends."""
        rows = connection.execute(_HELD, queue=queue, msg_id=message.msg_id)
        return bool(rows) and rows[0].read_ct == message.read_ct

    def next_in(self, connection: Connection, queue: str) -> float | None:
        """Seconds until the next message is visible, negative when one is; None when the queue is empty."""
        found: float | None = connection.execute(_NEXT, queue=queue)[0].seconds
        return found

    def purge(self, connection: Connection, queue: str) -> int:
        """Delete all messages; how many."""
        return connection.change("delete from queue_message where queue = :queue", queue=queue)

    def metrics(self, connection: Connection, queue: str) -> Metrics:
        """What is known of a queue."""
        row = connection.execute(_METRICS, queue=queue)[0]
        now = instant(row.now)
        return Metrics(
            queue_name=queue,
            queue_length=row.length,
            queue_visible_length=row.visible,
            newest_msg_age_sec=_age(now, row.newest),
            oldest_msg_age_sec=_age(now, row.oldest),
            total_messages=connection.execute(_SENT, queue=queue)[0].sent,
            scrape_time=now,
        )


def _after(duration: float) -> str:
    return f"{duration:+.3f} seconds"


def _age(now: datetime, since: str | None) -> int | None:
    return None if since is None else int((now - instant(since)).total_seconds())


def _message(row: Row) -> Message:
    return Message(
        msg_id=row.msg_id,
        read_ct=row.read_ct,
        enqueued_at=instant(row.enqueued_at),
        vt=instant(row.vt),
        message=json_value(row.message),
        headers=json_value(row.headers),
    )
