"""What a simulated world is kept on: a database that outlives each process in the world, and ends with it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from flowstone.errors import ValidationError, shown
from flowstone.state import sqlite
from flowstone.state.connection import Connection
from flowstone.state.database import BUSY_TIMEOUT, claim
from flowstone.state.migrate import migrate
from flowstone.state.url import Kind, Place, place_of
from flowstone.testing.simulate.time import WorldTime

__all__ = ["disk_of", "place_to_simulate"]


def place_to_simulate(store: object) -> Place:
    """Where worlds can be kept: in memory, or in schemas of their own in a PostgreSQL database.

    Raises:
        ValidationError: it is a file, whose rows would be the last world's.
        ConfigError: it is no store.
    """
    if not isinstance(store, str) or (place := place_of(store)).kind is Kind.SQLITE:
        raise ValidationError(f"expected store to be memory:// or a postgresql:// URL, got: {shown(store)}")
    return place


@contextmanager
def disk_of(place: Place, time: WorldTime) -> Iterator[Connection]:
    """An empty store, its tables made, which nobody else has; nothing is left of it.

    Raises:
        StoreUnavailable: the server can't be reached, or refuses a schema.
    """
    kept = _in_schema(place) if place.kind is Kind.POSTGRESQL else _in_memory()
    with kept as disk:
        migrate(disk, time.now())
        yield disk


@contextmanager
def _in_memory() -> Iterator[Connection]:
    # As a reader, since what lies in memory has no log to be written ahead of it; then with the right to write.
    raw = sqlite.connect(":memory:", synchronous="OFF", busy_timeout=0.0, read_only=True)
    raw.execute("pragma query_only = off")
    disk = Connection(sqlite.SQLiteSession(raw, "simulated"))
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def _in_schema(place: Place) -> Iterator[Connection]:
    server = claim(place, exclusive=False, synchronous="NORMAL", busy_timeout=BUSY_TIMEOUT)
    disk, schema = Connection(server.writer()), f"flowstone_simulated_{secrets.token_hex(8)}"
    try:
        disk.script(f"create schema {schema}; set search_path to {schema}")
        try:
            yield disk
        finally:
            disk.rollback()
            disk.script(f"drop schema {schema} cascade")
    finally:
        disk.close()
        server.close()
