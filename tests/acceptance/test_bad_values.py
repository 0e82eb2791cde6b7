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
from flowstone.approvals import store as approvals
from flowstone.io import DatabaseIO, FilesIO, IOContext, MemoryIO, StoredValue
from flowstone.state.connection import Connection

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


class Unspoken(Exception):
    """An error of somebody's that fails when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def failing(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


ODD = "caf\udce9 \0"
ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "error": (lambda: failing(FileNotFoundError(ODD))(), "failed"),
    "error of ours": (lambda: failing(fs.ExecutionError(ODD))(), "failed"),
    "error without words": (lambda: failing(Unspoken())(), "failed"),
    "skip": (lambda: fs.Skip(ODD), "success"),
    "skip for an error": (lambda: fs.Skip(ValueError(ODD)), "success"),  # type: ignore[arg-type]
    "retry": (lambda: fs.Retry(reason=ODD), "failed"),
    "late retry": (lambda: fs.Retry(after=1e12), "failed"),
    "question": (lambda: fs.WaitForApproval(ODD, {ODD: ODD}), "waiting_approval"),
    "question without end": (lambda: fs.WaitForApproval("large", timeout=1e12), "failed"),
}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_in_words_that_no_store_can_hold_is_told_and_its_function_called_once(
    make_store_url: Callable[[str], str], kind: str, name: str
) -> None:
    pipeline, calls = fs.Pipeline("shop"), []
    answer, status = ANSWERS[name]

    def odd(context: fs.Context) -> Any:
        calls.append(context.attempt)
        return answer()

    pipeline.asset(odd, name="odd", retry=fs.RetryPolicy(max_attempts=1))
    with fs.Runtime(pipeline, store=make_store_url(kind), io_manager="memory") as runtime:
        handle = runtime.materialize_async("odd")
        runtime.drain(timeout=20)
        run, asked = runtime.runs.get(handle.run_id), runtime.approvals.list_pending()
    assert (run.status, run.interruptions, calls) == (status, 0, [1])
    told = " ".join(map(str, (run.error, run.materializations[0].reason, *(each.message for each in asked))))
    assert "interrupted" not in told
    if "without" not in name and "late" not in name:
        assert r"caf\udce9 \x00" in told


class Loose(MemoryIO):
    """An IO manager of somebody else's, which says strange things of where it stored a value."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def store(self, context: IOContext, value: Any) -> StoredValue:
        return self.answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "here",
        StoredValue("mine", Path("/here"), "1"),  # type: ignore[arg-type]
        StoredValue("mine", "here", 1),  # type: ignore[arg-type]
        StoredValue("mine", "here", ODD),
        StoredValue("mine", "here", "1", "9"),  # type: ignore[arg-type]
    ],
    ids=range(6),
)
def test_a_manager_that_says_strangely_where_it_stored_a_value_is_named(flowstone_runtime: Make, answer: Any) -> None:
    pipeline, calls = fs.Pipeline("shop"), []
    pipeline.asset(lambda context: calls.append(context.attempt), name="value")
    runtime = flowstone_runtime(pipeline, io_managers={"loose": Loose(answer)}, io_manager="loose")
    with pytest.raises(fs.IOManagerError, match="expected IO manager 'loose' to answer with a StoredValue"):
        runtime.materialize("value")
    assert calls == [1]


@pytest.mark.parametrize("name", ["generator", "async generator"])
def test_memory_refuses_what_only_its_first_reader_would_find_full(flowstone_runtime: Make, name: str) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: VALUES[name]() if name == "generator" else later(), name="value")
    with pytest.raises(fs.IOManagerError, match="could not store value: expected a value that can be read more than"):
        flowstone_runtime(pipeline).materialize("value")


@pytest.mark.parametrize("together", [False, True])
def test_what_a_store_refuses_to_hold_fails_its_asset_alone_which_is_called_once(
    flowstone_runtime: Make, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    pipeline, calls = fs.Pipeline("shop"), []
    ask, meet = approvals.ask, threading.Barrier(3)

    def refuse(connection: Connection, asker: approvals.Asker, *given: Any) -> str | None:
        if asker.asset == "odd":
            raise ValueError("no store holds this")
        return ask(connection, asker, *given)

    def odd(context: fs.Context) -> fs.WaitForApproval:
        calls.append(context.attempt)
        if together:
            meet.wait(20)
        return fs.WaitForApproval("may it?")

    def even(context: fs.Context) -> int:
        if together:
            meet.wait(20)
        return 1

    for name, fn in (("odd", odd), ("even", even), ("level", even)):
        pipeline.asset(fn, name=name)
    monkeypatch.setattr(approvals, "ask", refuse)
    runtime = flowstone_runtime(pipeline)
    with pytest.raises(fs.ExecutionError, match="what became of it can't be stored: ValueError: no store holds this"):
        runtime.materialize("odd, even, level")
    (run,) = runtime.runs.list()
    rows = {row.asset: row.status for row in runtime.runs.get(run.run_id).materializations}
    assert (rows, run.interruptions, calls) == ({"odd": "failed", "even": "success", "level": "success"}, 0, [1])
