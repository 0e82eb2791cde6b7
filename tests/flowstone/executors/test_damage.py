"""What a function does to its worker process is its own affair: no later call, and no other asset, sees any of it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest

ONCE = fs.RetryPolicy(max_attempts=1)


def pid(context: fs.Context) -> int:
    return os.getpid()


def forks(context: fs.Context) -> str:
    child = os.fork()
    if child == 0:
        return "of the child"
    os.waitpid(child, 0)
    return "of the worker"


def forks_and_goes_on(context: fs.Context) -> str:
    if os.fork() == 0:
        select.select([], [], [], 0.3)
        raise ValueError("of the child")
    return "of the worker"


def tell(number: int) -> int:
    for _ in range(50):
        logging.getLogger("of a child").warning("x" * 5000)
    return number


def has_a_pool(context: fs.Context) -> list[int]:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        return pool.map(tell, range(8))


def closes_its_output(context: fs.Context) -> int:
    sys.stdout.flush()
    os.close(1)
    return os.getpid()


def prints(context: fs.Context) -> int:
    print("seen", flush=True)
    return os.getpid()


def closes_everything(context: fs.Context) -> None:
    os.closerange(3, 1000)


def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    for fn in (pid, forks, forks_and_goes_on, has_a_pool, closes_its_output, prints, closes_everything):
        made.asset(fn, name=fn.__name__, process=True, retry=ONCE)
    return made


@pytest.fixture
def runtime() -> Iterator[fs.Runtime]:
    with fs.Runtime(shop(), store="memory://") as started:
        yield started


def value(runtime: fs.Runtime, asset: str) -> Any:
    return runtime.materialize_async(asset).result(timeout=30).value


def test_what_a_function_forks_answers_neither_for_it_nor_for_a_later_call(runtime: fs.Runtime) -> None:
    number = value(runtime, "pid")
    assert value(runtime, "forks") == "of the worker"
    assert value(runtime, "forks_and_goes_on") == "of the worker"
    assert [value(runtime, "pid") for _ in range(3)] == [number] * 3


def test_log_records_of_what_a_function_forks_do_not_get_between_its_worker_and_the_parent(
    runtime: fs.Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    assert value(runtime, "has_a_pool") == list(range(8))
    assert value(runtime, "pid") in runtime._services.processes.workers()  # type: ignore[union-attr]
    assert "x" * 5000 in capfd.readouterr().err


def test_a_worker_without_its_standard_streams_makes_no_other_call(
    runtime: fs.Runtime, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = value(runtime, "closes_its_output")
    assert value(runtime, "prints") != damaged
    assert "seen" in capfd.readouterr().out


def test_a_worker_that_closes_its_pipes_fails_its_call_alone(runtime: fs.Runtime) -> None:
    with pytest.raises(fs.ExecutionError, match="the worker process of asset 'closes_everything'"):
        value(runtime, "closes_everything")
    assert value(runtime, "pid")


PROGRAM = """
import os, sys
import flowstone as fs

def returns(context):
    child = os.fork()
    if child == 0:
        return "of the child"
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def raises(context):
    child = os.fork()
    if child == 0:
        raise ValueError("of the child")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

shop, own = fs.Pipeline("shop"), os.getpid()
for fn in (returns, raises):
    shop.asset(fn)
with fs.Runtime(shop, store=sys.argv[1]) as runtime:
    made = [runtime.materialize(name).value for name in ("returns", "raises")]
    assert os.getpid() == own
    print(made, [runtime.get(name) for name in ("returns", "raises")])
"""


def test_what_a_function_forks_without_a_worker_process_stores_nothing_and_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, f"sqlite:///{tmp_path}/store.db"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("[1, 1] [1, 1]\n", "")
