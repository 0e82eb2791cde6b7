"""Fixtures for actors: a system on each backend, a manual clock, and the actors that tests play with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors import Actor, System
from actors.testing import ManualClock


class Counter(Actor):
    """Adds up numbers; crashes on an exception, ends on "stop", shows itself on "self"."""

    def init(self, start: int = 0) -> None:
        self.count = start
        self.ended: list[Any] = []

    def receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if message == "stop":
            return self.stop()
        if callable(message):
            return message(self)
        self.count += message
        return self.count


@pytest.fixture
def counter() -> type[Counter]:
    return Counter


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def system(backend: str, clock: ManualClock) -> Iterator[System]:
    with System(backend, clock=clock) as system:
        yield system


@pytest.fixture
def real(backend: str) -> Iterator[System]:
    """A system on real time, for what is about real threads and timeouts."""
    with System(backend) as system:
        yield system


@pytest.fixture
def recorder() -> tuple[list[Any], Callable[..., type[Actor]]]:
    """A list, and a maker of actor classes that append to it what happens to them."""
    log: list[Any] = []

    def make(name: str, fails: Callable[[], bool] = lambda: False) -> type[Actor]:
        class Recorded(Actor):
            def init(self) -> None:
                if fails():
                    log.append(("failed", name))
                    raise RuntimeError(f"{name} fails")
                log.append(("init", name))

            def receive(self, message: Any) -> Any:
                if isinstance(message, BaseException):
                    raise message
                if message == "stop":
                    return self.stop()
                log.append((message, name))
                return name

            def terminate(self, reason: Any) -> None:
                log.append(("terminate", name))

        return Recorded

    return log, make
