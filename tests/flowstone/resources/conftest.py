"""Runtimes on both backends, and a resource that does what it is told and says what was asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import flowstone as fs
import pytest

WAIT = 20.0


class Thing(fs.Resource):
    """A resource whose calls are noted in `told`; what `sick` holds is raised, or returned when it is no exception."""

    def __init__(self, name: str = "thing", told: list[str] | None = None, secret: Any = None) -> None:
        self.name = name
        self.told = told if told is not None else []
        self.secret = secret
        self.sick: dict[str, Any] = {}
        self.gate: threading.Event | None = None
        self.reached = threading.Event()

    def setup(self) -> list[Any]:
        self._do("setup")
        return [self.name, self.secret]

    def health_check(self, handle: list[Any]) -> Any:
        return self._do("health_check")

    def teardown(self, handle: list[Any]) -> None:
        self._do("teardown")

    def _do(self, what: str) -> Any:
        self.told.append(f"{what} {self.name}")
        self.reached.set()
        if self.gate is not None and what == "setup":
            assert self.gate.wait(WAIT)
        found = self.sick.get(what)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def thing() -> type[Thing]:
    return Thing


@pytest.fixture(params=["greenlets", "threads"])
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., fs.Runtime]]:
    """Starts runtimes on either backend, and stops them in the end."""
    made: list[fs.Runtime] = []

    def begin(*pipelines: fs.Pipeline, **options: Any) -> fs.Runtime:
        made.append(fs.Runtime(*pipelines, **{"store": "memory://", "backend": request.param, **options}).start())
        return made[-1]

    yield begin
    for runtime in made:
        runtime.stop(0)
