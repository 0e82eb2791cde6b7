"""Resources of assets in processes of their own: set up there, once a worker; plain values travel."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.resources.keeper import BASE, HEALTH_EVERY

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


class Pool(fs.Resource):
    """A resource that knows where it was set up."""

    def __init__(self, password: Any = None, path: Any = None) -> None:
        self.password, self.path = password, path

    def setup(self) -> Any:
        return {"pid": os.getpid(), "password": self.password, "lock": threading.Lock(), "ill": False}

    def health_check(self, handle: Any) -> bool:
        return not handle["ill"]

    def teardown(self, handle: Any) -> None:
        if self.path:
            with open(self.path, "a") as book:
                book.write(f"{os.getpid()}\n")


class OnlyHere(Pool):
    """One that fails in other processes than that of the test."""

    def setup(self) -> Any:
        if os.environ.get("TEST_PID") != str(os.getpid()):
            raise ValueError(f"no luck with {self.password}")
        return {"pid": os.getpid(), "ill": False}


def uses(context: Any) -> list[Any]:
    pool = context.resources.pool
    assert pool is context.resources["pool"]
    return [os.getpid(), pool if isinstance(pool, str) else pool["pid"], list(context.resources)]


def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(uses, process=True, requires=["pool"], retry=fs.RetryPolicy(max_attempts=1))
    return made


def test_a_resource_is_set_up_in_the_worker_once(start: Any, tmp_path: Any) -> None:
    book = tmp_path / "book"
    runtime = start(shop(), resources={"pool": Pool(path=str(book))})
    values = [runtime.materialize("uses", partition=n).value for n in range(2)]
    assert values[0][0] == values[0][1] != os.getpid()
    assert values == [[values[0][0], values[0][0], ["pool"]]] * 2
    runtime.stop()
    assert sorted(book.read_text().split()) == sorted([str(values[0][0]), str(os.getpid())])


def test_one_that_was_set_up_again_is_set_up_again_there_too(start: Any, tmp_path: Any) -> None:
    clock, book = ManualClock(NOON), tmp_path / "book"
    runtime = start(shop(), resources={"pool": Pool(path=str(book))}, clock=clock)
    first = runtime.materialize("uses").value
    runtime.resources.get("pool")["ill"] = True
    clock.advance(HEALTH_EVERY)
    clock.advance(BASE)
    assert runtime.materialize("uses", partition=2).value == first
    assert str(first[0]) in book.read_text().split()


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_overrides_and_plain_values_travel_themselves(start: Any) -> None:
    runtime = start(shop(), resources={"pool": Pool()})
    with runtime.resources.override("pool", "fake"):
        assert runtime.materialize("uses").value[1] == "fake"
    assert start(shop(), resources={"pool": "plain"}).materialize("uses").value[1] == "plain"


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_what_can_not_travel_is_named(start: Any) -> None:
    runtime = start(shop(), resources={"pool": threading.Lock()})
    with pytest.raises(fs.ExecutionError, match="resource 'pool' can't be pickled: .*keep plain options in a Resource"):
        runtime.materialize("uses")


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_one_that_fails_there_is_unavailable_and_keeps_its_secrets(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    monkeypatch.setenv("TEST_PID", str(os.getpid()))
    runtime = start(shop(), resources={"pool": OnlyHere(("env", "DB_PASSWORD"))})
    with pytest.raises(fs.ResourceUnavailable, match="'pool' could not be set up in a worker process") as caught:
        runtime.materialize("uses")
    assert str(caught.value).endswith("no luck with ***")
