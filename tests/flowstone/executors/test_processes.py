"""Worker processes: what travels, what comes back, how they die and what is told of it."""

from __future__ import annotations

import itertools
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors import RealClock
from actors.backends.work import WorkCount
from actors.testing import ManualClock
from flowstone.core.context import Context, RunTrigger
from flowstone.errors import RuntimeStopped, StaleState
from flowstone.executors import process, processes
from flowstone.executors.processes import ProcessExecutor
from flowstone.runs.occupancy import Call, Calls

WAIT = 20.0


class Unpicklable(Exception):
    """An exception that pickle loses."""

    def __init__(self, code: int, text: str) -> None:  # noqa: B042 (the loss is what is tried)
        super().__init__(text)
        self.code = code


class NotSent:
    """A value that says no when it is pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("it holds a socket")


def pid(context: Context) -> int:
    return os.getpid()


def seen(context: Context, raw: int) -> tuple[object, ...]:
    trigger = context.trigger
    return context.asset, context.partition, context.run_id, context.attempt, trigger.payload, context.approval, raw


async def later(context: Context) -> int:
    return os.getpid()


def die(context: Context) -> None:
    os.kill(os.getpid(), context.partition)


def leave(context: Context) -> None:
    os._exit(context.partition)


def fail(context: Context) -> None:
    raise ValueError(f"no rows in {context.partition}")


def fail_strangely(context: Context) -> None:
    raise Unpicklable(5, "what pickle loses")


def end_the_program(context: Context) -> None:
    sys.exit(4)


class OnlyThere:
    """A value that can be read in the process that made it."""

    def __reduce__(self) -> Any:
        return read_there, (os.getpid(),)


def read_there(number: int) -> OnlyThere:
    if os.getpid() != number:
        raise LookupError("no such thing here")
    return OnlyThere()


def answer_only_there(context: Context) -> OnlyThere:
    return OnlyThere()


def answer_not_sent(context: Context) -> NotSent:
    return NotSent()


def tell(context: Context) -> None:
    context.log.debug("unheard")
    context.log.info("made %s", context.partition)
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("elsewhere").exception("went on")


def instant(context: Context) -> object:
    return context.clock.now()


def where(context: Context) -> str:
    return os.getcwd()


def hang(context: Context) -> None:
    """Tell the pipe that the partition names who hangs, with a child of its own, and never come back."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN if context.attempt == 2 else signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        signal.pause()
    Path(context.partition).write_text(f"{os.getpid()} {child}")
    while True:
        signal.pause()


def renamed(context: Context) -> int:
    return 1


original, renamed = renamed, pid


class Workers:
    """An executor with calls that can be begun in a thread and revoked."""

    def __init__(self, folder: Path) -> None:
        self.work = WorkCount()
        self.executor = ProcessExecutor("processes", work=self.work)
        self.calls = Calls()
        self._folder = folder
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(8)

    def call(
        self, fn: Callable[..., Any], partition: Any = None, attempt: int = 1, clock: Any = None, **dependencies: Any
    ) -> Any:
        asset = fs.Asset(fn, process=True, depends_on=list(dependencies))
        call = self.calls.begin("run_1", asset.name, "")
        trigger = RunTrigger(kind="manual", name=None, evaluation_id=None, key="k", payload={"rows": 3})
        told = {"asset": asset.name, "partition": partition, "run_id": "run_1", "attempt": attempt}
        context = Context(**told, clock=clock or RealClock(), trigger=trigger)
        try:
            return self.executor.call(asset, context, dependencies, call)
        finally:
            self.calls.end(call)
            call.settle()

    def hang(self, attempt: int = 1) -> tuple[Future[Any], list[int]]:
        """A call that hangs, when it does, and descriptors of its two processes."""
        pipe = self._folder / f"pipe-{next(self._numbers)}"
        os.mkfifo(pipe)
        future = self._threads.submit(self.call, hang, str(pipe), attempt)
        return future, [os.pidfd_open(int(number)) for number in pipe.read_text().split()]

    def close(self) -> None:
        self.executor.stop()
        self._threads.shutdown()


def have_ended(processes_of: list[int]) -> bool:
    """Whether the processes of these descriptors end within the patience of tests."""
    return all(select.select([descriptor], [], [], WAIT)[0] for descriptor in processes_of)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers that many tests share, since each costs a start of Python."""
    made = Workers(tmp_path_factory.mktemp("workers"))
    yield made
    made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workers]:
    """Workers of one test alone."""
    made = Workers(tmp_path)
    yield made
    made.close()


def test_the_context_and_the_dependencies_travel_and_the_value_comes_back(workers: Workers) -> None:
    assert workers.call(seen, (1, "eu"), raw=7) == ("seen", (1, "eu"), "run_1", 1, {"rows": 3}, None, 7)


def test_a_worker_is_another_process_and_makes_one_call_after_the_other(own: Workers) -> None:
    made = {own.call(pid) for _ in range(3)} | {own.call(later)}
    assert len(made) == 1
    assert made.isdisjoint({os.getpid()})
    assert own.executor.workers() == list(made)


def test_calls_at_the_same_time_have_a_worker_each(own: Workers) -> None:
    _, first = own.hang()
    assert own.call(pid) not in (0, os.getpid())
    assert len(own.executor.workers()) == 2
    own.calls.outlive("run_1")
    assert have_ended(first)


@pytest.mark.parametrize(
    ("fn", "with_what", "words"),
    [
        (die, signal.SIGKILL, "was killed by SIGKILL"),
        (die, signal.SIGSEGV, "had a segmentation fault (SIGSEGV)"),
        (die, signal.SIGABRT, "was aborted (SIGABRT)"),
        (die, signal.SIGTERM, "was killed by SIGTERM"),
        (leave, 3, "ended with exit status 3"),
        (leave, 0, "ended with exit status 0"),
    ],
)
def test_a_worker_that_dies_fails_its_call_alone_and_by_name(
    workers: Workers, fn: Callable[..., Any], with_what: int, words: str
) -> None:
    before = workers.call(pid)
    with pytest.raises(fs.ExecutionError) as caught:
        workers.call(fn, int(with_what))
    assert f"the worker process of asset '{fn.__name__}' (pid {before}) {words}" in str(caught.value)
    assert workers.call(pid) != before


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-7, "had a bus error (SIGBUS)"),
        (-4, "had an illegal instruction (SIGILL)"),
        (-99, "was killed by signal 99"),
        (None, "its exit status was taken by another part of this program"),
    ],
)
def test_each_end_has_its_words(status: int | None, words: str) -> None:
    assert words in process.how_it_ended(status)


def test_an_exception_comes_back_with_where_it_came_from(workers: Workers) -> None:
    with pytest.raises(ValueError, match="no rows in eu") as caught:
        workers.call(fail, "eu")
    assert "in fail\n" in str(caught.value.__cause__)


def test_an_exception_that_can_not_travel_is_told(workers: Workers) -> None:
    with pytest.raises(fs.ExecutionError, match="Unpicklable: what pickle loses") as caught:
        workers.call(fail_strangely)
    assert "in fail_strangely\n" in str(caught.value.__cause__)


def test_a_function_that_ends_the_program_ends_neither(workers: Workers) -> None:
    before = workers.call(pid)
    with pytest.raises(SystemExit):
        workers.call(end_the_program)
    assert workers.call(pid) == before


def test_a_value_that_can_not_come_back_is_named(workers: Workers) -> None:
    with pytest.raises(fs.ExecutionError, match="its value .NotSent. can't be sent back .* it holds a socket"):
        workers.call(answer_not_sent)
    assert workers.call(pid)


def test_a_value_that_can_not_be_read_back_is_told(workers: Workers) -> None:
    with pytest.raises(fs.ExecutionError, match="its value can't be read back .* LookupError: no such thing here"):
        workers.call(answer_only_there)
    assert workers.call(pid)


def test_where_exit_statuses_are_ignored_an_end_is_named_all_the_same(
    own: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "is_patched", lambda: True)
    with pytest.raises(fs.ExecutionError, match="had a segmentation fault .SIGSEGV."):
        own.call(die, int(signal.SIGSEGV))
    with pytest.raises(fs.ExecutionError, match="ended with exit status 3"):
        own.call(leave, 3)
    future, descriptors = own.hang()
    own.calls.outlive("run_1")
    with pytest.raises(fs.ExecutionError, match="killed by SIGTERM"):
        future.result(WAIT)
    assert have_ended(descriptors)


def test_a_dependency_that_can_not_travel_is_named(workers: Workers) -> None:
    message = "the value of 'raw' .NotSent. can't be sent to a worker process: it holds a socket; make it of plain data"
    with pytest.raises(fs.ExecutionError, match=message):
        workers.call(seen, raw=NotSent())


def test_a_function_that_is_not_found_under_its_name_is_refused(workers: Workers) -> None:
    with pytest.raises(fs.ExecutionError, match="the function renamed can't be sent .* at the top of a module"):
        workers.call(original)


def test_a_value_of_many_megabytes_travels_both_ways(workers: Workers) -> None:
    assert workers.call(seen, raw=bytes(20_000_000))[-1] == bytes(20_000_000)


def test_log_records_reach_the_handlers_of_the_parent(workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    workers.call(tell, "eu")
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert told == [("flowstone.asset", "made eu"), ("elsewhere", "went on")]
    assert "ValueError: odd" in (caplog.records[1].exc_text or "")


def test_the_clock_of_a_test_stands_still_in_a_worker(workers: Workers) -> None:
    clock = ManualClock()
    assert workers.call(instant, clock=clock) == clock.now()


def test_a_worker_is_where_its_parent_is(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.call(where)
    monkeypatch.chdir(tmp_path)
    assert workers.call(where) == str(tmp_path)


def test_a_call_that_is_revoked_is_killed_with_all_that_it_started(workers: Workers) -> None:
    future, descriptors = workers.hang()
    assert workers.calls.outlive("run_1") == {"hang"}
    with pytest.raises(fs.ExecutionError, match="killed by SIGTERM"):
        future.result(WAIT)
    assert have_ended(descriptors)


def test_one_that_does_not_heed_sigterm_gets_sigkill(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.05)
    future, descriptors = workers.hang(attempt=2)
    workers.calls.outlive("run_1")
    with pytest.raises(fs.ExecutionError, match="killed by SIGKILL"):
        future.result(WAIT)
    assert have_ended(descriptors)


def test_a_call_that_is_revoked_before_it_began_is_never_made(workers: Workers) -> None:
    before = workers.call(pid)
    call = Call("run_1", "pid", "", revoked=True)
    with pytest.raises(StaleState, match="before it began"):
        workers.executor.call(fs.Asset(pid, process=True), _context(), {}, call)
    assert workers.call(pid) == before


def test_what_is_revoked_after_it_came_back_harms_no_later_call(workers: Workers) -> None:
    call = Call("run_1", "pid", "")
    before = workers.executor.call(fs.Asset(pid, process=True), _context(), {}, call)
    assert call.kill is None
    assert workers.call(pid) == before


def test_a_worker_that_died_while_it_rested_is_replaced_unseen(workers: Workers) -> None:
    before = workers.call(pid)
    descriptor = os.pidfd_open(before)
    os.kill(before, signal.SIGKILL)
    assert have_ended([descriptor])
    assert workers.call(pid) != before


def test_a_worker_with_nothing_to_do_ends(own: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "IDLE_SECONDS", 0.01)
    descriptor = os.pidfd_open(own.call(pid))
    assert have_ended([descriptor])
    assert own.call(pid)


def test_a_stop_kills_what_goes_on_and_ends_the_rest(own: Workers) -> None:
    future, descriptors = own.hang()
    resting = os.pidfd_open(own.call(pid))
    own.executor.stop()
    assert have_ended([*descriptors, resting])
    with pytest.raises(RuntimeStopped, match="while hang was running"):
        future.result(WAIT)
    with pytest.raises(RuntimeStopped, match="is stopped"):
        own.call(pid)
    own.executor.stop()


def test_a_call_is_work_in_flight_until_it_is_over(own: Workers) -> None:
    future, _ = own.hang()
    assert [what.rpartition(": ")[2] for what in own.work.pending()] == ["hang"]
    own.calls.outlive("run_1")
    assert future.exception(WAIT) is not None
    assert own.work.wait_idle(WAIT)


def test_calls_from_many_threads_share_few_workers(own: Workers) -> None:
    go = threading.Barrier(4)

    def many() -> set[int]:
        go.wait(WAIT)
        return {own.call(pid) for _ in range(20)}

    with ThreadPoolExecutor(4) as threads:
        found = set().union(*(one.result(WAIT) for one in [threads.submit(many) for _ in range(4)]))
    assert len(found) <= 4


SCRIPT = """
import os
import flowstone as fs
shop = fs.Pipeline("shop")

class Rows(list):
    pass

@shop.asset
def raw(context):
    return Rows([1, 2, 3])

@shop.asset(process=True)
def total(context, raw):
    return Rows([type(raw).__name__, sum(raw), os.getpid()])

def main():
    with fs.Runtime(shop, store="memory://") as runtime:
        value = runtime.materialize_all("total")["total"].value
        print(type(value).__name__, value[:2], value[2] != os.getpid())

"""


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What a program of its own says."""
    path = folder / "script.py"
    path.write_text(text)
    return subprocess.run([sys.executable, path.name], cwd=folder, capture_output=True, text=True, timeout=40)


@pytest.mark.parametrize("first", ["", "from gevent import monkey\nmonkey.patch_all()\n"], ids=["plain", "gevent"])
def test_functions_and_classes_of_a_script_travel_by_its_file(tmp_path: Path, first: str) -> None:
    ran = run_script(tmp_path, f'{first}{SCRIPT}if __name__ == "__main__":\n    main()\n')
    assert ran.stdout == "Rows ['Rows', 6] True\n", ran.stderr


@pytest.mark.parametrize("store", ["memory://", "sqlite:///here.db"])
def test_a_script_that_starts_its_runtime_when_it_is_imported_is_told_so(tmp_path: Path, store: str) -> None:
    ran = run_script(tmp_path, f"{SCRIPT.replace('memory://', store)}main()\n")
    assert ran.returncode == 1
    assert 'start runtimes behind `if __name__ == "__main__":`' in ran.stderr


@pytest.mark.crash
def test_a_service_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = """
import os, signal, sys
import flowstone as fs
shop = fs.Pipeline("shop")

@shop.asset(process=True)
def hang(context):
    child = os.fork()
    if child:
        with open(context.partition, "w") as pipe:
            pipe.write(f"{os.getpid()} {child}")
    while True:
        signal.pause()

@shop.asset(process=True)
def pid(context):
    return os.getpid()

if __name__ == "__main__":
    with fs.Runtime(shop, store="memory://") as runtime:
        runtime.materialize_async("hang", partition=sys.argv[1])
        runtime.materialize("pid")
        signal.pause()
"""
    (tmp_path / "service.py").write_text(text)
    service = subprocess.Popen([sys.executable, "service.py", str(pipe)], cwd=tmp_path)
    try:
        numbers = [int(number) for number in pipe.read_text().split()]
        descriptors = [os.pidfd_open(number) for number in numbers]
    finally:
        service.kill()
        service.wait(WAIT)
    assert have_ended(descriptors)


def _context() -> Context:
    trigger = RunTrigger(kind="manual", name=None, evaluation_id=None, key="k")
    return Context(asset="pid", partition=None, run_id="run_1", attempt=1, clock=RealClock(), trigger=trigger)
