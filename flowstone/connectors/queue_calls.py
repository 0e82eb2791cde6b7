"""The calls about queues, with the names and meaning of pgmq: each is one transaction, from any thread."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, overload

from flowstone.connectors import queues
from flowstone.connectors.message import Message, Metrics, QueueRow, check_message, check_queue
from flowstone.core.checks import check_int
from flowstone.durations import seconds
from flowstone.errors import ValidationError, shown
from flowstone.state.connection import Connection
from flowstone.state.database import Database

__all__ = ["Queue"]

POLL = 0.1
"""Seconds between two looks of `read_with_poll`."""


class Queue:
    """What `runtime.queue` is. Visibility is in real time, by the database's clock; durations as everywhere.

    A message that was read and neither archived nor deleted is visible again after its `vt`: exactly one reader has it
    until then.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, queue: str) -> None:
        """Make a queue; harmless when it is there.

        Raises:
            ValidationError: the name is no text of 1 to 47 letters a-z, digits and `_`.
        """
        name = check_queue(queue)
        self._database.transact(lambda connection: queues.create(connection, name))

    def drop_queue(self, queue: str) -> bool:
        """Remove a queue with all that is in it; whether there was one.

        Raises:
            ValidationError: the name is not legal.
        """
        name = check_queue(queue)

        def drop(connection: Connection) -> bool:
            known = any(row.name == name for row in queues.every(connection))
            if known:
                queues.keeper(connection, name).drop(connection, name)
            return known

        return self._database.transact(drop)

    def list_queues(self) -> tuple[QueueRow, ...]:
        """All queues, by name."""
        return self._database.read(queues.every)

    def send(self, queue: str, message: Any, delay: object = 0, *, headers: Any = None) -> int:
        """Add a message, visible after `delay`; its id.

        Raises:
            ValidationError: there is no such queue, or JSON can't hold the message.
        """
        return self.send_batch(queue, [message], delay, headers=headers)[0]

    def send_batch(self, queue: str, messages: Iterable[Any], delay: object = 0, *, headers: Any = None) -> list[int]:
        """Add messages together, in order; their ids. `headers` are those of each.

        Raises:
            ValidationError: there is no such queue, or JSON can't hold a message.
        """
        name, after = check_queue(queue), seconds(delay, "delay")
        texts = [check_message(message) for message in messages]
        head = None if headers is None else check_message(headers, "headers")
        if not texts:
            return []
        return self._database.transact(
            lambda connection: queues.keeper(connection, name).send(connection, name, texts, head, after)
        )

    def read(self, queue: str, vt: object = 30, qty: int = 1) -> list[Message]:
        """Up to `qty` visible messages; nobody else sees them for `vt`.

        Raises:
            ValidationError: there is no such queue, or an option is wrong.
        """
        name, hidden, count = check_queue(queue), seconds(vt, "vt"), check_int("qty", qty, minimum=1)
        return self._database.transact(
            lambda connection: queues.keeper(connection, name).read(connection, name, hidden, count)
        )

    def read_with_poll(self, queue: str, vt: object = 30, qty: int = 1, *, timeout: object = 5) -> list[Message]:
        """As `read`, but waits up to `timeout` (real time) for a message.

        Raises:
            ValidationError: there is no such queue, or an option is wrong.
        """
        until = time.monotonic() + seconds(timeout, "timeout")
        while True:
            found = self.read(queue, vt, qty)
            if found or time.monotonic() >= until:
                return found
            time.sleep(min(POLL, max(0.0, until - time.monotonic())))

    @overload
    def pop(self, queue: str) -> Message | None:
        """One message."""

    @overload
    def pop(self, queue: str, qty: int) -> list[Message]:
        """Some messages."""

    def pop(self, queue: str, qty: int | None = None) -> Message | None | list[Message]:
        """Take the first visible message out of a queue for good, None when there is none; a list with `qty`.

        Raises:
            ValidationError: there is no such queue, or an option is wrong.
        """
        name, count = check_queue(queue), check_int("qty", 1 if qty is None else qty, minimum=1)
        found = self._database.transact(
            lambda connection: queues.keeper(connection, name).pop(connection, name, count)
        )
        return found if qty is not None else next(iter(found), None)

    @overload
    def archive(self, queue: str, msg_id: int) -> bool:
        """One message."""

    @overload
    def archive(self, queue: str, msg_id: Sequence[int]) -> list[int]:
        """Some messages."""

    def archive(self, queue: str, msg_id: int | Sequence[int]) -> bool | list[int]:
        """Move a message to the archive; whether it was there. Of a list of ids, those that were there.

        Raises:
            ValidationError: there is no such queue.
        """
        name, ids = check_queue(queue), _ids(msg_id)
        gone = self._database.transact(
            lambda connection: queues.keeper(connection, name).archive(connection, name, ids)
        )
        return bool(gone) if isinstance(msg_id, int) else gone

    @overload
    def delete(self, queue: str, msg_id: int) -> bool:
        """One message."""

    @overload
    def delete(self, queue: str, msg_id: Sequence[int]) -> list[int]:
        """Some messages."""

    def delete(self, queue: str, msg_id: int | Sequence[int]) -> bool | list[int]:
        """Delete a message; whether it was there. Of a list of ids, those that were there.

        Raises:
            ValidationError: there is no such queue.
        """
        name, ids = check_queue(queue), _ids(msg_id)
        gone = self._database.transact(
            lambda connection: queues.keeper(connection, name).delete(connection, name, ids)
        )
        return bool(gone) if isinstance(msg_id, int) else gone

    def set_vt(self, queue: str, msg_id: int, vt: object) -> Message | None:
        """Let a message be visible `vt` from now; None when it is gone.

        Raises:
            ValidationError: there is no such queue, or an option is wrong.
        """
        name, after, id = check_queue(queue), seconds(vt, "vt"), _ids(msg_id)[0]
        return self._database.transact(
            lambda connection: queues.keeper(connection, name).set_vt(connection, name, id, after)
        )

    def purge_queue(self, queue: str) -> int:
        """Delete all messages of a queue; how many.

        Raises:
            ValidationError: there is no such queue.
        """
        name = check_queue(queue)
        return self._database.transact(lambda connection: queues.keeper(connection, name).purge(connection, name))

    def metrics(self, queue: str) -> Metrics:
        """What is known of a queue.

        Raises:
            ValidationError: there is no such queue.
        """
        name = check_queue(queue)
        return self._database.read(lambda connection: queues.keeper(connection, name).metrics(connection, name))


def _ids(given: Any) -> list[int]:
    ids = [given] if isinstance(given, int) else list(given) if isinstance(given, (list, tuple)) else []
    if not all(isinstance(id, int) and not isinstance(id, bool) for id in ids) or isinstance(given, bool):
        ids = []
    if not ids and given != []:
        raise ValidationError(f"expected msg_id to be an int or a list of them, got: {shown(given)}")
    return ids
