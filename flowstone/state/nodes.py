"""The nodes: which runtimes live on this store, and since when the others don't.

Each start of a runtime is a row, which ends once: when the runtime stops, or when another one finds it dead. All
instants are of the database's clock. A node is dead when it was silent for three heartbeats; at once when its process
and its connection are gone. An ended row is final: a process that wakes up later finds all its transactions refused,
and joins anew as another boot.

The rules take `now` as an argument; they know no clock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta

from flowstone.errors import ConfigError, shown
from flowstone.state.assignment import Cluster, Node, owners
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_value

__all__ = [
    "HEARTBEAT",
    "LOST",
    "beat",
    "bury",
    "cluster_of",
    "end_others",
    "has_no_process",
    "join",
    "leave",
    "living",
    "offer",
    "settle",
    "silence",
    "suspects",
]

_VARIABLE = "FLOWSTONE_TEST_HEARTBEAT"
"""The environment variable by which tests of processes shorten heartbeats, and all that is counted in them."""


def _heartbeat() -> float:
    text = os.environ.get(_VARIABLE, "10")
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"expected {_VARIABLE} to be seconds, got: {shown(text)}") from None


HEARTBEAT = _heartbeat()
"""Seconds between two heartbeats of a node."""

SILENT_BEATS = 3
"""Heartbeats that may be missed before a node is dead."""

KEPT = timedelta(days=1)
"""How long the rows of nodes are kept that have ended."""

LOST = "node_lost"
"""In the context of the error of a transaction that was refused since its node was taken for dead."""

_NEXT_EPOCH = "update cluster set epoch = epoch + 1 returning epoch"
_JOIN = """
    insert into node (boot, name, pid, host, session, started_at, heartbeat_at, offers, settled)
    values (:boot, :name, :pid, :host, :session, :now, :now, :offers, 0)
    on conflict (boot) do nothing
"""
_FORGET = "delete from node where ended_at < :before"
_BEAT = "update node set heartbeat_at = :now where boot = :boot and ended_at is null"
_END = "update node set ended_at = :now, reason = :reason where boot = :boot and ended_at is null"
_BURY = _END + " and heartbeat_at = :seen"
_END_OTHERS = "update node set ended_at = :now, reason = :reason where boot <> :boot and ended_at is null"
_OFFER = "update node set offers = :offers where boot = :boot and ended_at is null"
_SETTLE = """
    update node set settled = coalesce(:epoch, (select epoch from cluster)) where boot = :boot and ended_at is null
"""
_EPOCH = "select epoch from cluster"
_LIVING = """
    select number, boot, name, pid, host, session, started_at, heartbeat_at, settled
    from node where ended_at is null order by number
"""
_OFFERS = "select boot, offers from node where ended_at is null"


def silence() -> timedelta:
    """How long a node may be silent before it is dead."""
    return timedelta(seconds=SILENT_BEATS * HEARTBEAT)


def join(connection: Connection, *, boot: str, name: str, offers: Iterable[str], now: datetime) -> None:
    """Write that a runtime has started. Harmless when repeated."""
    connection.execute(_FORGET, before=now - KEPT)
    row = {
        "boot": boot,
        "name": name,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "session": connection.session_name,
        "now": now,
        "offers": sorted(offers),
    }
    if connection.change(_JOIN, row):
        _next_epoch(connection)


def beat(connection: Connection, *, boot: str, now: datetime) -> bool:
    """Write that a node lives; False when it has ended."""
    return connection.change(_BEAT, boot=boot, now=now) > 0


def leave(connection: Connection, *, boot: str, now: datetime) -> None:
    """Write that a node has stopped; it does nothing any more."""
    if connection.change(_END, boot=boot, now=now, reason="it was stopped"):
        _next_epoch(connection)


def end_others(connection: Connection, *, boot: str, now: datetime) -> None:
    """Write that all other nodes have ended, on a store that belongs to one runtime at a time."""
    if connection.change(_END_OTHERS, boot=boot, now=now, reason="its process ended"):
        _next_epoch(connection)


def bury(connection: Connection, *, boot: str, now: datetime, steady: bool) -> tuple[str, ...]:
    """End the nodes that are dead; their boots.

    `steady` says that the one who judges, `boot`, was itself heard of all the time: silence then is the other's fault,
    and not that of a database which was away.
    """
    dead = [node for node in living(connection) if node.boot != boot and _is_dead(connection, node, now, steady)]
    buried = tuple(node.boot for node in dead if _end(connection, node, now))
    if buried:
        _next_epoch(connection)
    return buried


def suspects(cluster: Cluster, boot: str, now: datetime) -> tuple[Node, ...]:
    """The other nodes that may be dead."""
    others = (node for node in cluster.nodes if node.boot != boot)
    return tuple(node for node in others if _is_silent(node, now) or has_no_process(node))


def has_no_process(node: Node) -> bool:
    """Whether a node was a process of this machine that is not there any more."""
    if node.host != socket.gethostname():
        return False
    try:
        os.kill(node.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def offer(connection: Connection, *, boot: str, offers: Iterable[str]) -> None:
    """Write what a node could do from now on."""
    connection.execute(_OFFER, boot=boot, offers=sorted(offers))
    _next_epoch(connection)


def settle(connection: Connection, *, boot: str, epoch: int | None) -> None:
    """Write that a node does nothing that is another's in this epoch; None is the present one."""
    connection.execute(_SETTLE, boot=boot, epoch=epoch)


def cluster_of(connection: Connection, known: Cluster | None = None) -> Cluster:
    """The nodes that live, and who does what; what is `known` of an epoch is not computed again."""
    epoch = connection.execute(_EPOCH)[0].epoch
    nodes = living(connection)
    if known is not None and known.epoch == epoch:
        return Cluster(epoch, nodes, known.owners)
    offers = {row.boot: frozenset(json_value(row.offers)) for row in connection.execute(_OFFERS)}
    able = tuple(_node(row, offers.get(row.boot, frozenset())) for row in connection.execute(_LIVING))
    return Cluster(epoch, able, owners(able))


def living(connection: Connection) -> tuple[Node, ...]:
    """The nodes that have not ended, the oldest first, without what they offer."""
    return tuple(_node(row, frozenset()) for row in connection.execute(_LIVING))


def _is_dead(connection: Connection, node: Node, now: datetime, steady: bool) -> bool:
    silent = _is_silent(node, now)
    if silent and steady:
        return True
    return (silent or has_no_process(node)) and connection.is_gone(node.session)


def _is_silent(node: Node, now: datetime) -> bool:
    return now - node.heartbeat_at > silence()


def _end(connection: Connection, node: Node, now: datetime) -> bool:
    """End a node unless it is in the middle of a transaction; whether that was done."""
    if not connection.outlaw(node.boot):
        return False
    silent = (now - node.heartbeat_at).total_seconds()
    reason = f"it was taken for dead: nothing was heard of it for {silent:.1f} s"
    return connection.change(_BURY, boot=node.boot, now=now, reason=reason, seen=node.heartbeat_at) > 0


def _next_epoch(connection: Connection) -> int:
    epoch: int = connection.execute(_NEXT_EPOCH)[0].epoch
    return epoch


def _node(row: Row, offers: frozenset[str]) -> Node:
    return Node(
        number=row.number,
        boot=row.boot,
        name=row.name,
        pid=row.pid,
        host=row.host,
        session=row.session,
        started_at=instant(row.started_at),
        heartbeat_at=instant(row.heartbeat_at),
        settled=row.settled,
        offers=offers,
    )
