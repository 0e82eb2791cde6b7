"""A look at a store that changes nothing: which steps its tables have seen, what is in them, and who was there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from flowstone.state.connection import Connection
from flowstone.state.database import BUSY_TIMEOUT, claim
from flowstone.state.fields import instant
from flowstone.state.migrate import migrations
from flowstone.state.models import TABLES
from flowstone.state.url import Kind, place_of

__all__ = ["NodeRow", "StoreView", "inspect", "nodes", "sqlite_version"]


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A start of a runtime; `heartbeat_at` is when it was last heard of, `ended_at` when it had ended, or was dead."""

    name: str
    boot: str
    pid: int
    host: str
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """What is to be seen of a store; `bytes` is the size of its files, where it has some.

    `applied` are the names of the steps that its tables have seen, `pending` of those that this release adds;
    `unknown` are the numbers of steps that only a newer release knows. `rows` counts them by table.
    """

    url: str
    kind: str
    exists: bool
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    unknown: tuple[int, ...] = ()
    bytes: int | None = None
    rows: dict[str, int]
    nodes: tuple[NodeRow, ...] = ()

    @property
    def status(self) -> str:
        """Whether there is a store, and whether its tables are those of this release."""
        if not self.exists:
            return "missing"
        if self.unknown:
            return "newer than this release"
        return "to be migrated" if self.pending else "up to date"


def inspect(url: str) -> StoreView:
    """What is to be seen of the store at a URL; makes none.

    Raises:
        ConfigError: the URL is wrong.
        StoreUnavailable: it can't be read.
    """
    place = place_of(url)
    known = {step.number: f"{step.number:04}_{step.name}" for step in migrations()}
    url, kind = place.shown, place.kind.value
    if place.kind is Kind.MEMORY or place.kind is Kind.SQLITE and not os.path.exists(str(place.path)):
        return StoreView(url=url, kind=kind, exists=False, pending=tuple(known.values()), rows={})
    with ExitStack() as parts:
        server = claim(place, exclusive=False, synchronous="FULL", busy_timeout=BUSY_TIMEOUT)
        parts.callback(server.close)
        connection = Connection(server.reader())
        parts.callback(connection.close)
        connection.begin(write=False)
        parts.callback(connection.rollback)
        seen = _seen(connection)
        return StoreView(
            url=url,
            kind=kind,
            exists=bool(seen),
            applied=tuple(seen.values()),
            pending=tuple(name for number, name in known.items() if number not in seen),
            unknown=tuple(number for number in seen if number not in known),
            bytes=None if place.path is None else _size(place.path),
            rows=_counts(connection),
            nodes=nodes(connection) if connection.has_table("node") else (),
        )


def nodes(connection: Connection) -> tuple[NodeRow, ...]:
    """The runtimes that live on this store, or the one that was the last to; the one last heard of first."""
    rows = connection.execute("select * from node order by ended_at is not null, heartbeat_at desc")
    living = [row for row in rows if row.ended_at is None]
    return tuple(
        NodeRow(row.name, row.boot, row.pid, row.host, *map(instant, (row.started_at, row.heartbeat_at, row.ended_at)))
        for row in living or rows[:1]
    )


def sqlite_version() -> str:
    """The version of the SQLite library in use."""
    return sqlite3.sqlite_version


def _seen(connection: Connection) -> dict[int, str]:
    if not connection.has_table("schema_version"):
        return {}
    rows = connection.execute("select number, name from schema_version order by number")
    return {row.number: f"{row.number:04}_{row.name}" for row in rows}


def _counts(connection: Connection) -> dict[str, int]:
    names = [table._meta.table_name for table in TABLES]
    there = [name for name in names if connection.has_table(name)]
    return {name: connection.execute(f"select count(*) as n from {name}")[0].n for name in there}


def _size(path: str) -> int:
    files = (f"{path}{suffix}" for suffix in ("", "-wal", "-shm"))
    return sum(os.path.getsize(file) for file in files if os.path.exists(file))
