"""The keys of dynamic partition sets: added and removed by anybody, and known to the catalog of each process.

Rows are added, and marked as removed, but never deleted: so the number of both only grows, and tells whether what was
read is newer than what is known.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from actors.raw import Lock
from flowstone.audit.store import record
from flowstone.audit.who import who
from flowstone.core.dynamic_sets import Dynamic, DynamicKeys, check_dynamic_key
from flowstone.core.names import check_name
from flowstone.errors import RuntimeStopped, ValidationError, did_you_mean, shown
from flowstone.runs.services import Services
from flowstone.state.connection import Connection

__all__ = ["Partitions", "follow"]

_ADD = """
    insert into dynamic_partition (name, key, added_by, added_at) values (:name, :key, :actor, :now)
    on conflict (name, key) where removed_at is null do nothing
"""
_REMOVE = """
    update dynamic_partition set removed_by = :actor, removed_at = :now
    where name = :name and key = :key and removed_at is null
"""
_KEYS = "select key from dynamic_partition where name = :name and removed_at is null order by id"
_ALL = "select name, key, removed_at from dynamic_partition order by id"
_STEPS = "select count(*) as added, count(removed_at) as removed from dynamic_partition"

_lock = Lock()


class Partitions:
    """The group of calls `runtime.partitions`, about partition sets of the kind `Dynamic`.

    A set is named by its name, or is the `Dynamic` itself. What one process adds, the others know within a second.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def add(self, partitions: str | Dynamic, *keys: str, by: str | None = None) -> int:
        """Add keys, in this order, to a set; how many of them are new. What is there already stays in its place.

        Raises:
            ValidationError: no asset has such a set, or a key is no text of 1 to 255 characters.
        """
        return self._change("added", _ADD, partitions, keys, by)

    def remove(self, partitions: str | Dynamic, *keys: str, by: str | None = None) -> int:
        """Remove keys from a set; how many of them it had. Values that were made for them stay where they are.

        Raises:
            ValidationError: no asset has such a set, or a key is no text of 1 to 255 characters.
        """
        return self._change("removed", _REMOVE, partitions, keys, by)

    def list(self, partitions: str | Dynamic) -> builtins.list[str]:
        """The keys of a set, in the order in which they were added.

        Raises:
            ValidationError: no asset has such a set.
        """
        name = self._named(partitions)
        rows = self._services.database.read(lambda connection: connection.execute(_KEYS, name=name))
        return [row.key for row in rows]

    def _change(
        self, done: str, sql: str, partitions: str | Dynamic, keys: tuple[str, ...], by: str | None
    ) -> int:
        services, name, actor = self._services, self._named(partitions), who(by)
        checked = [check_dynamic_key(key) for key in keys]
        now = services.clock.now()

        def write(connection: Connection) -> int:
            values = {"name": name, "actor": actor, "now": now}
            changed = [key for key in checked if connection.change(sql, values, key=key)]
            if changed:
                _audit(connection, done, name, changed, actor, now)
            return len(changed)

        count = services.database.transact(write)
        if count:
            _take(services.catalog.dynamic, *services.database.read(_read))
        return count

    def _named(self, partitions: str | Dynamic) -> str:
        name = check_name("partition set", partitions.name if isinstance(partitions, Dynamic) else partitions)
        catalog = self._services.catalog
        known = catalog.dynamic_sets()
        # A client that came without definitions does not know which sets there are.
        if catalog.assets and name not in known:
            sets = ", ".join(sorted(known)) or "none"
            expected = f"expected one of the dynamic partition sets of the assets ({sets})"
            raise ValidationError(f"{expected}, got: {shown(name)}{did_you_mean(name, known)}")
        return name


def follow(services: Services) -> Callable[[], None]:
    """Let the catalog know the keys as they are, and as others change them; returns what ends that."""
    if not services.catalog.dynamic_sets():
        return lambda: None
    database, known = services.database, services.catalog.dynamic

    def look() -> None:
        with suppress(RuntimeStopped):
            database.read_later(_steps, lambda steps: read() if steps.ok and steps.value != known.steps else None)

    def read() -> None:
        with suppress(RuntimeStopped):
            database.read_later(_read, lambda found: _take(known, *found.unwrap()) if found.ok else None)

    take_back = database.on_outside_commit(look)
    _take(known, *database.read(_read))
    return take_back


def _take(known: DynamicKeys, steps: int, keys: dict[str, builtins.list[str]]) -> None:
    with _lock:
        if steps >= known.steps:
            known.fill(keys, steps=steps)


def _steps(connection: Connection) -> int:
    counted = connection.execute(_STEPS)[0]
    return int(counted.added + counted.removed)


def _read(connection: Connection) -> tuple[int, dict[str, builtins.list[str]]]:
    keys: dict[str, builtins.list[str]] = {}
    steps = 0
    for name, key, removed_at in connection.execute(_ALL):
        steps += 1 if removed_at is None else 2
        if removed_at is None:
            keys.setdefault(name, []).append(key)
    return steps, keys


def _audit(
    connection: Connection, done: str, name: str, keys: builtins.list[str], actor: str, now: datetime
) -> None:
    details = {"keys": keys[:100], "count": len(keys)}
    record(connection, f"partition.{done}", actor=actor, resource=f"partitions:{name}", details=details, at=now)
