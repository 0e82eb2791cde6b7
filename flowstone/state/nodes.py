"""The nodes: which machine runs, or ran, a runtime on this store, and when it was last heard of."""

import os
import socket
from dataclasses import dataclass
from datetime import datetime

from flowstone.state.connection import Connection
from flowstone.state.fields import instant

__all__ = ["Node", "heartbeat_of"]


@dataclass(frozen=True, slots=True)
class Node:
    """A start of a runtime on a node: `boot` is new with each start."""

    name: str
    boot: str

    def beat(self, connection: Connection, now: datetime) -> None:
        """Write down that this node is alive; its `started_at` is that of its boot's first beat."""
        connection.execute(_BEAT, name=self.name, boot=self.boot, pid=os.getpid(), host=socket.gethostname(), now=now)


def heartbeat_of(connection: Connection, boot: str) -> datetime | None:
    """When a start of a runtime was last heard of; None before its first heartbeat."""
    rows = connection.execute("select heartbeat_at from node where boot = :boot", boot=boot)
    return instant(rows[0].heartbeat_at) if rows else None


_BEAT = """
insert into node (name, boot, pid, host, started_at, heartbeat_at)
values (:name, :boot, :pid, :host, :now, :now)
on conflict (name) do update set
    started_at = case when node.boot = excluded.boot then node.started_at else excluded.started_at end,
    boot = excluded.boot, pid = excluded.pid, host = excluded.host, heartbeat_at = excluded.heartbeat_at
"""
