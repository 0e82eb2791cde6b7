"""Stores with queues of every kind: tables in SQLite, our functions in PostgreSQL, and the real pgmq."""

import uuid
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import psycopg
import pytest

from flowstone.state.database import Database

KINDS = ("memory", "sqlite", "postgresql", "pgmq")


@pytest.fixture
def pgmq_url(postgres_server: Any) -> Iterator[str]:
    """The URL of an empty store in a database into which pgmq was installed, from the SQL that its package carries."""
    name = f"pgmq_{uuid.uuid4().hex}"
    postgres_server.run(f"create database {name}")
    url = psycopg.conninfo.make_conninfo(postgres_server.url, dbname=name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((resources.files("pgmq") / "sql" / "pgmq.sql").read_text().encode())
    parts = psycopg.conninfo.conninfo_to_dict(url)
    yield f"postgresql:///{name}?" + "&".join(
        f"{key}={value}" for key, value in parts.items() if key not in ("dbname", "password")
    )
    postgres_server.run(f"drop database {name} with (force)")


@pytest.fixture(params=KINDS)
def queue_url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """The URL of an empty store whose queues are of each kind."""
    if request.param == "pgmq":
        return str(request.getfixturevalue("pgmq_url"))
    return make_store_url(request.param)


@pytest.fixture
def database(queue_url: str) -> Iterator[Database]:
    """A store whose queues are of each kind."""
    with Database.open(queue_url) as database:
        yield database
