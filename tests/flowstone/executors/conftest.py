"""Executors on the real clock, and user code that comes back when it is told to."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.backends.work import WorkCount
from actors.clock import RealClock
from flowstone.executors.threads import ThreadExecutor
from flowstone.outcome import Outcome

WAIT = 20.0


class Answer:
    """A `then` and an `ended` that can be waited for, and how often they were called, in order."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome[Any]] = []
        self.order: list[str] = []
        self.threads: list[str] = []
        self._told = threading.Event()
        self._over = threading.Event()

    def then(self, outcome: Outcome[Any]) -> None:
        self.threads.append(threading.current_thread().name)
        self.outcomes.append(outcome)
        self.order.append("then")
        self._told.set()

    def ended(self) -> None:
        self.order.append("ended")
        self._over.set()

    def wait(self) -> Outcome[Any]:
        assert self._told.wait(WAIT), "no outcome came"
        return self.outcomes[0]

    def wait_ended(self) -> None:
        assert self._over.wait(WAIT), "the call did not end"


class Hang:
    """User code that does not come back until it is let go."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._taken = threading.Event()

    def __call__(self, value: object = None) -> object:
        self._taken.set()
        assert self._go.wait(WAIT)
        return value

    def wait_taken(self) -> None:
        assert self._taken.wait(WAIT), "the call did not start"

    @property
    def taken(self) -> bool:
        return self._taken.is_set()

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def hang() -> Iterator[Callable[[], Hang]]:
    """Makes calls that hang, and lets all of them go in the end."""
    made: list[Hang] = []

    def make() -> Hang:
        made.append(Hang())
        return made[-1]

    yield make
    for one in made:
        one.let_go()


@pytest.fixture
def work() -> WorkCount:
    return WorkCount()


@pytest.fixture
def executor_of(work: WorkCount, hang: object) -> Iterator[Callable[[int | None], ThreadExecutor]]:
    """Makes executors with a number of threads; stops them in the end, before what hangs is let go."""
    made: list[ThreadExecutor] = []

    def make(threads: int | None) -> ThreadExecutor:
        made.append(ThreadExecutor("user", clock=RealClock(), work=work, threads=threads))
        return made[-1]

    yield make
    for executor in made:
        executor.stop(0)


@pytest.fixture(params=[None, 3], ids=["elastic", "bounded"])
def executor(executor_of: Callable[[int | None], ThreadExecutor], request: pytest.FixtureRequest) -> ThreadExecutor:
    return executor_of(request.param)
