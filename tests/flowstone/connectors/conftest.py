"""Stores with queues of every kind: tables in SQLite, our functions in PostgreSQL, and the real pgmq."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowstone.state.database import Database

KINDS = ("memory", "sqlite", "postgresql", "pgmq")
CRON_SETTINGS = {
    "shared_preload_libraries": "'pg_cron'",
    "cron.database_name": "'tasks'",
    "cron.use_background_workers": "on",
    "max_worker_processes": "20",
    "cron.max_running_jobs": "8",
    "listen_addresses": "''",
    "fsync": "off",
}


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


@pytest.fixture(scope="session")
def pg_cron_server() -> Iterator[str]:
    """The URL of a database of a private server with pg_cron, from Debian's packages; CI has to have them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/lib/pg_cron.so"))
    if not found:
        told = "pg_cron is not here: apt-get install postgresql-15-cron"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    folder = Path(tempfile.mkdtemp(prefix="fs-cron-"))
    # The server refuses root; everybody else runs it as themselves.
    run = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if run:
        shutil.chown(folder, "postgres")
    binaries, data = found[-1].parent.parent / "bin", folder / "data"
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    init = [*run, binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(init, check=True, capture_output=True, env=clean, cwd=folder)
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.writelines(f"{name} = {value}\n" for name, value in CRON_SETTINGS.items())
        settings.write(f"unix_socket_directories = '{folder}'\n")
    start = [*run, binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "start"]
    subprocess.run(start, check=True, capture_output=True, env=clean, cwd=folder)
    url = f"postgresql:///tasks?host={folder}&user=postgres"
    try:
        with psycopg.connect(url.replace("/tasks", "/postgres"), autocommit=True) as connection:
            connection.execute("create database tasks")
        yield url
    finally:
        stop = [*run, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, capture_output=True, env=clean, cwd=folder)
        shutil.rmtree(folder)


@pytest.fixture
def pg_cron_url(pg_cron_server: str) -> Iterator[str]:
    """The URL of an empty store, in the schema `public`, in a database whose tasks pg_cron fires."""
    with psycopg.connect(pg_cron_server, autocommit=True) as connection:
        connection.execute("create extension pg_cron")
        yield pg_cron_server
        connection.execute("drop extension pg_cron cascade")
        connection.execute("drop schema if exists flowstone cascade")
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
