"""Queues in PostgreSQL, by SQL functions: those of pgmq where it keeps the queue, else ours of the same names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowstone.connectors.message import Message, Metrics
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import json_value

__all__ = ["FUNCTIONS", "PGMQ", "FunctionQueues"]


class FunctionQueues:
    """The operations on queues, within a transaction; what they mean is told by `queue_calls.Queue`.

    `prefix` stands before the names of the functions, `seconds` is the type of their durations; `table` is where the
    messages of a queue are, with `{}` for its name.
    """

    def __init__(self, kind: str, prefix: str, *, seconds: str, table: str) -> None:
        self.kind = kind
        self._call = f"select * from {prefix}{{}}".format
        self._seconds = seconds
        self._table = table

    def create(self, connection: Connection, queue: str) -> None:
        """Make a queue, which has no row yet."""
        connection.execute(self._call("create(queue_name => :queue)"), queue=queue)
        connection.execute(
            "insert into queue (name, kind, sent, created_at) values (:queue, :kind, 0, clock_timestamp()) "
            "on conflict do nothing",
            queue=queue,
            kind=self.kind,
        )

    def drop(self, connection: Connection, queue: str) -> None:
        """Remove a queue and all that is in it."""
        connection.execute(self._call("drop_queue(queue_name => :queue)"), queue=queue)
        connection.execute("delete from queue where name = :queue", queue=queue)

    def send(
        self, connection: Connection, queue: str, messages: Sequence[str], headers: str | None, delay: float
    ) -> list[int]:
        """Add messages, as JSON texts; their ids."""
        each = "from jsonb_array_elements(cast(:messages as jsonb)) with ordinality as each (value, place)"
        sql = self._call(
            f"""send_batch(
                queue_name => :queue,
                msgs => array(select value {each} order by place),
                headers => array(select cast(:headers as jsonb) {each}),
                delay => cast(:delay as {self._seconds})
            ) as id"""
        )
        text = f"[{','.join(messages)}]"
        rows = connection.execute(sql, queue=queue, messages=text, headers=headers, delay=self._duration(delay))
        return sorted(row.id for row in rows)

    def read(self, connection: Connection, queue: str, vt: float, qty: int) -> list[Message]:
        """Up to `qty` visible messages, which nobody else sees for `vt` seconds."""
        sql = self._call(
            f"read(queue_name => :queue, vt => cast(:vt as {self._seconds}), qty => cast(:qty as integer))"
        )
        return _messages(connection.execute(sql, queue=queue, vt=self._duration(vt), qty=qty))

    def pop(self, connection: Connection, queue: str, qty: int) -> list[Message]:
        """Up to `qty` visible messages, which are gone."""
        sql = self._call("pop(queue_name => :queue, qty => cast(:qty as integer))")
        return _messages(connection.execute(sql, queue=queue, qty=qty))

    def archive(self, connection: Connection, queue: str, ids: Sequence[int]) -> list[int]:
        """Move messages to the archive; the ids of those that were there."""
        return self._each(connection, "archive", queue, ids)

    def delete(self, connection: Connection, queue: str, ids: Sequence[int]) -> list[int]:
        """Delete messages; the ids of those that were there."""
        return self._each(connection, "delete", queue, ids)

    def set_vt(self, connection: Connection, queue: str, id: int, after: float) -> Message | None:
        """Let a message be visible after so many seconds from now; None when it is gone."""
        sql = self._call(f"set_vt(queue_name => :queue, msg_id => :id, vt => cast(:after as {self._seconds}))")
        rows = connection.execute(sql, queue=queue, id=id, after=self._duration(after))
        return _message(rows[0]) if rows else None

    def holds(self, connection: Connection, queue: str, message: Message) -> bool:
        """Whether nobody has read or removed a message since it was read; so it stays until the transaction ends."""
        sql = f"select read_ct from {self._table.format(queue)} msg_id = :id for update"
        rows = connection.execute(sql, id=message.msg_id)
        return bool(rows) and rows[0].read_ct == message.read_ct

    def next_in(self, connection: Connection, queue: str) -> float | None:
        """Seconds until the next message is visible, negative when one is; None when the queue is empty."""
        until = "cast(extract(epoch from min(vt) - clock_timestamp()) as double precision)"
        sql = f"select {until} as seconds from {self._table.format(queue)} true"
        found: float | None = connection.execute(sql)[0].seconds
        return found

    def purge(self, connection: Connection, queue: str) -> int:
        """Delete all messages; how many."""
        return int(connection.execute(self._call("purge_queue(queue_name => :queue) as count"), queue=queue)[0].count)

    def metrics(self, connection: Connection, queue: str) -> Metrics:
        """What is known of a queue."""
        row = connection.execute(self._call("metrics(queue_name => :queue)"), queue=queue)[0]
        return Metrics(
            queue_name=queue,
            queue_length=row.queue_length,
            queue_visible_length=row.queue_visible_length,
            newest_msg_age_sec=row.newest_msg_age_sec,
            oldest_msg_age_sec=row.oldest_msg_age_sec,
            total_messages=row.total_messages,
            scrape_time=row.scrape_time,
        )

    def _each(self, connection: Connection, name: str, queue: str, ids: Sequence[int]) -> list[int]:
        sql = self._call(f"{name}(queue_name => :queue, msg_ids => cast(:ids as bigint[])) as id")
        rows = connection.execute(sql, queue=queue, ids="{" + ",".join(map(str, ids)) + "}")
        return sorted(row.id for row in rows)

    def _duration(self, seconds: float) -> float | int:
        return math.ceil(seconds) if self._seconds == "integer" else seconds


FUNCTIONS = FunctionQueues(
    "flowstone", "queue_", seconds="double precision", table="queue_message where queue = '{}' and"
)
"""Ours, in the schema of the store."""

PGMQ = FunctionQueues("pgmq", "pgmq.", seconds="integer", table="pgmq.q_{} where")
"""The extension's, or those of its SQL; durations are whole seconds there, rounded up."""


def _messages(rows: list[Row]) -> list[Message]:
    return sorted(map(_message, rows), key=lambda message: message.msg_id)


def _message(row: Row) -> Message:
    return Message(row.msg_id, row.read_ct, row.enqueued_at, row.vt, json_value(row.message), json_value(row.headers))
