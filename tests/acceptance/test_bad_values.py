"""Values that can't be stored: one clear failed attempt, and no row that is left between states."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.io import DatabaseIO, FilesIO, IOContext, MemoryIO, StoredValue

Make = Callable[..., fs.Runtime]


class Unkind:
    """Neither to be pickled nor to be shown."""

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle of me")

    def __repr__(self) -> str:
        raise RuntimeError("no picture of me")


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


async def later() -> Any:
    yield 1


VALUES: dict[str, Callable[[], Any]] = {
    "generator": lambda: (number for number in range(3)),
    "async generator": later,
    "function": lambda: lambda: 1,
    "lock": threading.Lock,
    "unkind": Unkind,
    "class of its own": lambda: type("Own", (), {})(),
    "nested": nested,
    "socket": socket.socket,
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_can_not_be_stored_is_a_failed_attempt(flowstone_runtime: Make, tmp_path: Path, name: str) -> None:
    pipeline, kept = fs.Pipeline("shop"), []

    @pipeline.asset
    def value(context: fs.Context) -> Any:
        kept.append(VALUES[name]())
        return kept[-1]

    pipeline.asset(lambda context, value: value, name="report")
    runtime = flowstone_runtime(pipeline, store=f"sqlite:///{tmp_path}/store.db")
    handle = runtime.materialize_async("*")
    runtime.drain(timeout=20)
    run = runtime.runs.get(handle.run_id)
    [row, report] = run.materializations
    assert (run.status, row.status, report.status, row.attempt) == ("failed", "failed", "skipped", 1)
    with pytest.raises(fs.IOManagerError, match="could not store value: expected a value that pickle can hold"):
        handle.result(timeout=20)
    assert not runtime.exists("value")
    if name == "socket":
        kept[0].close()


class Picky(MemoryIO):
    """An IO manager of somebody else's, which raises what comes."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def store(self, context: IOContext, value: Any) -> StoredValue:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return super().store(context, value)


@pytest.mark.parametrize("error", [TypeError("no such type"), ValueError("too large"), KeyError("column")])
def test_what_another_manager_says_of_a_value_is_final(flowstone_runtime: Make, error: Exception) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: 1, name="value")
    runtime = flowstone_runtime(pipeline, io_managers={"picky": Picky(error)}, io_manager="picky")
    with pytest.raises(fs.IOManagerError, match=f"storing value failed: {type(error).__name__}"):
        runtime.materialize("value")


def test_what_another_manager_says_of_its_place_is_tried_again(
    flowstone_runtime: Make, flowstone_clock: ManualClock
) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: 1, name="value")
    managers = {"picky": Picky(OSError("no space"))}
    runtime = flowstone_runtime(pipeline, io_managers=managers, io_manager="picky")
    handle = runtime.materialize_async("value")
    runtime.drain(timeout=20)
    assert "no space" in str(runtime.why(handle.run_id))
    flowstone_clock.advance("1m")
    assert handle.result(timeout=20).attempt == 2


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("where", ["files", "database"])
def test_a_value_of_many_megabytes_comes_back_and_one_past_the_memory_is_a_failed_attempt(
    make_store_url: Callable[[str], str], tmp_path: Path, kind: str, where: str
) -> None:
    pipeline, url = fs.Pipeline("shop"), make_store_url(kind)
    managers = {"files": FilesIO(tmp_path / "values"), "database": DatabaseIO(f"sqlite:///{tmp_path}/values.db")}
    pipeline.asset(lambda context: b"0123456789abcdef" * 2_000_000, name="large")
    pipeline.asset(lambda context, large: len(large), name="size")
    pipeline.asset(lambda context: bytes(sys.maxsize // 2), name="past_memory")
    with fs.Runtime(pipeline, store=url, io_managers=managers, io_manager=where) as runtime:
        assert runtime.materialize_all("size")["size"].value == 32_000_000
        assert runtime.get("large") == b"0123456789abcdef" * 2_000_000
        with pytest.raises(fs.ExecutionError, match="asset 'past_memory' raised MemoryError"):
            runtime.materialize("past_memory")
        assert runtime.runs.list(status="running") == ()
        assert runtime.materializations.list(status="running") == ()
