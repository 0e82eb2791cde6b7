"""Stores on real files, answers to wait for, and scripts that run in processes of their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flowstone
from actors.backends.work import WorkCount
from flowstone.outcome import Outcome
from flowstone.state.connection import Connection
from flowstone.state.database import Database

WAIT = 20.0


class Answer:
    """A `then` that can be waited for."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome[Any]] = []
        self._done = threading.Event()

    def __call__(self, outcome: Outcome[Any]) -> None:
        self.outcomes.append(outcome)
        self._done.set()

    def wait(self) -> Outcome[Any]:
        assert self._done.wait(WAIT), "no answer came"
        return self.outcomes[0]


class Held:
    """Keeps the writer busy until `let_go`, so that what is queued meanwhile becomes one group."""

    def __init__(self, database: Database) -> None:
        self._go = threading.Event()
        self._taken = threading.Event()
        self._answer = Answer()
        database.write(self._hold, self._answer)
        assert self._taken.wait(WAIT)

    def _hold(self, _connection: Connection) -> None:
        self._taken.set()
        assert self._go.wait(WAIT)

    def let_go(self) -> None:
        self._go.set()
        self._answer.wait()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def held() -> type[Held]:
    return Held


@pytest.fixture
def work() -> WorkCount:
    return WorkCount()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """An empty store that another process can open too."""
    return make_store_url(request.param)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database.open(url) as database:
        yield database


@pytest.fixture
def numbers(database: Database) -> Callable[[], list[int]]:
    """A table of numbers, and a reader of what it holds."""
    database.transact(lambda connection: connection.execute("create table number (n integer primary key)"))

    def read() -> list[int]:
        rows = database.read(lambda connection: connection.execute("select n from number order by n"))
        return [row.n for row in rows]

    return read


@pytest.fixture
def script() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts Python on a text in a process of its own, with pipes; kills what is left."""
    started: list[subprocess.Popen[str]] = []
    root = Path(flowstone.__file__).parent.parent

    def start(text: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", text, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
