"""Assets in worker processes: timeouts, cancelled runs, repeated attempts, values, and clocks that tests own."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import resource
import select
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.io import FilesIO

WAIT = 20.0
NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
NUMBERS = itertools.count()


def raw(context: Any) -> list[int]:
    return [1, 2, 3]


def total(context: Any, raw: list[int]) -> tuple[int, int]:
    return sum(raw), os.getpid()


async def later(context: Any) -> object:
    return context.clock.now()


def die_once(context: Any) -> int:
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return context.attempt


def read_nowhere(context: Any) -> None:
    ctypes.string_at(0)


def eat_all_memory(context: Any) -> None:
    """Ask for more than there is; a limit stands for the machine's."""
    room = 1 << 30
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    eaten = [b"x" * (1 << 26) for _ in range(64)]
    raise AssertionError(f"there was room for {len(eaten)}")


def eat_all_of_a_group(context: Any) -> None:
    """Ask the kernel for more than the control group has that the partition names."""
    Path(context.partition, "cgroup.procs").write_text(str(os.getpid()))
    eaten = [b"x" * (1 << 24) for _ in range(64)]
    raise AssertionError(f"there was room for {len(eaten)}")


def be_killed(context: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(context: Any) -> None:
    """Tell the pipe that the partition names who hangs, and never come back."""
    Path(context.partition).write_text(str(os.getpid()))
    while True:
        signal.pause()


def skip(context: Any) -> fs.Skip:
    return fs.Skip("nothing new")


def shop(**timeouts: Any) -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(raw)
    retry = fs.RetryPolicy(max_attempts=2, base="10s")
    for fn in (total, later, die_once, skip):
        made.asset(fn, process=True, retry=retry if fn is die_once else None)
    made.asset(hang, process=True, **timeouts)
    return made


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


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe by name, for an asset that tells of its process."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with 64 MB of memory, of the kernel's first or second kind of hierarchy."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    root, limit, swap = (
        (first, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        if first.is_dir()
        else (second, "memory.max", "memory.swap.max")
    )
    group = root / f"flowstone-{os.getpid()}-{next(NUMBERS)}"
    try:
        group.mkdir()
        (group / limit).write_text(str(1 << 26))
    except OSError as error:
        pytest.skip(f"only the machine's administrator makes control groups: {error}")
    if (group / swap).exists():
        (group / swap).write_text(str(1 << 26 if root == first else 0))
    yield group
    group.rmdir()


def descriptor_of(pipe: Path) -> int:
    """A descriptor of the process that hangs, once it does."""
    return os.pidfd_open(int(pipe.read_text()))


def has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], WAIT)[0])


def test_values_go_there_and_back_and_are_stored_by_the_parent(
    start: Callable[..., fs.Runtime], tmp_path: Path
) -> None:
    runtime = start(shop(), io_managers={"here": FilesIO(tmp_path)}, io_manager="here")
    value = runtime.materialize_all("total")["total"].value
    assert value[0] == 6
    assert value[1] != os.getpid()
    assert runtime.get("total") == value


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_other_answers_than_values_travel_too(start: Callable[..., fs.Runtime]) -> None:
    record = start(shop()).materialize("skip")
    assert (record.status, record.reason) == ("skipped", "nothing new")


def test_an_attempt_whose_worker_died_is_repeated_by_the_assets_policy(start: Callable[..., fs.Runtime]) -> None:
    clock = ManualClock(NOON)
    runtime = start(shop(), clock=clock)
    handle = runtime.materialize_async("die_once")
    clock.advance("1m")
    assert handle.result(WAIT).value == 2


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_a_worker_that_died_is_named_with_its_signal(start: Callable[..., fs.Runtime]) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(die_once, process=True)
    with pytest.raises(fs.ExecutionError, match="killed by SIGKILL"):
        start(pipeline).materialize("die_once")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (be_killed, r"execution_error: .*pid \d+\) was killed by SIGKILL"),
        (read_nowhere, r"execution_error: .*pid \d+\) had a segmentation fault \(SIGSEGV\)"),
        (eat_all_memory, "execution_error: .* raised MemoryError"),
    ],
)
def test_a_worker_that_dies_is_one_failed_attempt_in_the_rows_and_harms_no_other(
    make_store_url: Callable[[str], str], kind: str, fn: Callable[..., Any], words: str
) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(fn, name="dies", process=True)
    pipeline.asset(lambda context, dies: 1, name="report")
    pipeline.asset(raw)
    with fs.Runtime(pipeline, store=make_store_url(kind), io_manager="memory") as runtime:
        handle = runtime.materialize_async("*")
        with pytest.raises(fs.ExecutionError):
            handle.result(WAIT)
        run = runtime.runs.get(handle.run_id)
        assert run.status == "failed" and re.match(words, run.error or "")
        rows = {row.asset: (row.status, row.attempt) for row in run.materializations}
        assert rows == {"dies": ("failed", 1), "report": ("skipped", 0), "raw": ("success", 1)}


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_a_worker_that_the_kernel_kills_for_memory_is_a_failed_attempt_that_says_so(
    start: Callable[..., fs.Runtime], small_group: Path
) -> None:
    pipeline = fs.Pipeline("shop")
    pipeline.asset(eat_all_of_a_group, name="hungry", process=True)
    pipeline.asset(total, depends_on=["raw"], process=True)
    pipeline.asset(raw)
    runtime = start(pipeline)
    with pytest.raises(fs.ExecutionError, match="was killed by SIGKILL, as a kernel kills when memory runs out"):
        runtime.materialize("hungry", partition=str(small_group))
    assert not runtime.runs.list(status="running")
    assert runtime.materialize_all("total")["total"].value[0] == 6


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_a_worker_that_starts_is_not_taken_for_one_that_hangs(start: Callable[..., fs.Runtime]) -> None:
    clock = ManualClock(NOON, stall=0.05)
    handle = start(shop(), clock=clock).materialize_async("later")
    clock.advance("1h")
    assert handle.result(WAIT).value == NOON


def test_a_call_is_killed_at_its_timeout(start: Callable[..., fs.Runtime], pipe: Path) -> None:
    clock = ManualClock(NOON)
    runtime = start(shop(timeout="10s", retry=fs.RetryPolicy(max_attempts=1)), clock=clock)
    handle = runtime.materialize_async("hang", partition=str(pipe))
    descriptor = descriptor_of(pipe)
    clock.advance("10s")
    with pytest.raises(fs.TimeoutExceeded):
        handle.result(WAIT)
    assert has_ended(descriptor)


def test_a_killed_call_frees_its_partition_for_the_next_attempt(
    start: Callable[..., fs.Runtime], pipe: Path
) -> None:
    clock = ManualClock(NOON)
    runtime = start(shop(timeout="10s", retry=fs.RetryPolicy(max_attempts=2)), clock=clock)
    handle = runtime.materialize_async("hang", partition=str(pipe))
    with ThreadPoolExecutor(1) as reader:
        found = [reader.submit(descriptor_of, pipe) for _ in range(2)]
        clock.advance("1m")
        assert all(has_ended(one.result(WAIT)) for one in found)
    with pytest.raises(fs.TimeoutExceeded):
        handle.result(WAIT)


def test_cancelling_a_run_kills_its_worker(start: Callable[..., fs.Runtime], pipe: Path) -> None:
    runtime = start(shop())
    handle = runtime.materialize_async("hang", partition=str(pipe))
    descriptor = descriptor_of(pipe)
    assert handle.cancel()
    assert has_ended(descriptor)
    assert runtime.runs.get(handle.run_id).status == "cancelled"


@pytest.mark.parametrize("start", ["greenlets"], indirect=True)
def test_a_run_that_a_client_cancels_ends_its_worker_too(
    start: Callable[..., fs.Runtime], pipe: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    runtime = start(shop(), store=url)
    handle = runtime.materialize_async("hang", partition=str(pipe))
    descriptor = descriptor_of(pipe)
    with fs.Client(shop(), store=url) as client:
        assert client.runs.cancel(handle.run_id)
    assert has_ended(descriptor)


def test_a_stop_puts_the_run_back_and_kills_its_worker(start: Callable[..., fs.Runtime], pipe: Path) -> None:
    runtime = start(shop())
    runtime.materialize_async("hang", partition=str(pipe))
    descriptor = descriptor_of(pipe)
    runtime.stop(0)
    assert has_ended(descriptor)
