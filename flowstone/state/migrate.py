"""The migrations: which steps a store has seen, and those that it lacks, each in a transaction of its own.

Whether a step is due is decided under the lock that also covers it, so processes that open a new store at the same
time apply each step once.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

from flowstone.errors import StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.state.connection import Connection

__all__ = ["Migration", "migrate", "migrations"]

_FILE = re.compile(r"(\d{4})_(\w+)(?:\.(sqlite|postgresql))?\.sql")
_ROOMS = ("flowstone.state.migrations", "flowstone.connectors.sql")
"""Where the steps are: tables, and what connectors keep in the database itself."""

_VERSIONS = """
create table if not exists schema_version (
    number {int} not null primary key,
    name text not null,
    checksum text not null,
    applied_at {instant} not null
) {strict};
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step; `script` still has placeholders for what differs between databases.

    One that is `only` for a database is empty elsewhere.
    """

    number: int
    name: str
    script: str
    only: str | None = None

    @property
    def checksum(self) -> str:
        """A hash of the script, by which a step that was changed after its release is found out."""
        return hashlib.sha256(self.script.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """The steps that this release knows, in order."""
    found = []
    for file in (file for room in _ROOMS for file in resources.files(room).iterdir()):
        match = _FILE.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"), match[3]))
    return tuple(sorted(found, key=lambda migration: migration.number))


def migrate(connection: Connection, now: datetime, steps: Sequence[Migration] | None = None) -> int:
    """Apply the steps that the store lacks; returns how many.

    Raises:
        StoreUnavailable: the store is newer than this release, a step was changed, or the store failed.
    """
    known = migrations() if steps is None else steps
    applied = 0
    while _apply_next(connection, known, now):
        applied += 1
    return applied


def _apply_next(connection: Connection, known: Sequence[Migration], now: datetime) -> bool:
    if _due(_seen(connection), known) is None:
        return False
    connection.begin(write=True)
    try:
        connection.exclude()
        connection.script(_VERSIONS)
        due = _due(_seen(connection), known)
        if due is not None:
            if due.only in (None, connection.dialect):
                connection.script(due.script)
            connection.execute(
                "insert into schema_version (number, name, checksum, applied_at) "
                "values (:number, :name, :checksum, :now)",
                number=due.number,
                name=due.name,
                checksum=due.checksum,
                now=now,
            )
        failpoint("migration.before_commit")
        connection.commit()
        failpoint("migration.after_commit")
    finally:
        connection.rollback()
    return due is not None


def _seen(connection: Connection) -> dict[int, str]:
    """The checksums of the steps that the store has seen, by number."""
    if not connection.has_table("schema_version"):
        return {}
    return {row.number: row.checksum for row in connection.execute("select number, checksum from schema_version")}


def _due(seen: Mapping[int, str], known: Sequence[Migration]) -> Migration | None:
    newest = max((migration.number for migration in known), default=0)
    if max(seen, default=0) > newest:
        raise StoreUnavailable(
            f"the store has tables of step {max(seen)}, this release knows {newest}: use the newer FlowStone",
            retryable=False,
            found=max(seen),
            known=newest,
        )
    for migration in known:
        if migration.number not in seen:
            return migration
        if seen[migration.number] != migration.checksum:
            raise StoreUnavailable(
                f"step {migration.number} ({migration.name}) of the store's tables is not the one of this release",
                retryable=False,
                number=migration.number,
            )
    return None
