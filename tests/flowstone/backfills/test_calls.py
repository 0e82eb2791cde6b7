"""Backfills from their start to their end, on every kind of store."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

import flowstone as fs
from actors.testing import crash
from flowstone.backfills import store
from flowstone.backfills.backfill import Backfill
from flowstone.errors import BackfillNotFound, TimeoutExceeded, ValidationError
from flowstone.runs.calls import Handle

MONTH = "2025-01-01..2025-01-31"
PATIENCE = 20


class Mill:
    """Raw days and a report of each; days in `bad` fail, and all wait for the gate when it is shut."""

    def __init__(self) -> None:
        self.pipeline = fs.Pipeline("mill")
        self.bad: set[int] = set()
        self.calls: Counter[tuple[str, int]] = Counter()
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.inside, self.most, self._lock = 0, 0, threading.Lock()
        self.pipeline.asset(self.raw, name="raw", partitions=fs.Daily(start="2025-01-01"))
        self.pipeline.asset(self.report, name="report", depends_on=["raw"])

    def raw(self, context: Any) -> int:
        """One day."""
        with self._lock:
            self.calls["raw", context.partition.day] += 1
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        try:
            assert self.gate.wait(PATIENCE)
            if context.partition.day in self.bad:
                raise ValueError(f"day {context.partition.day} is bad")
            return int(context.partition.day)
        finally:
            with self._lock:
                self.inside -= 1

    def report(self, context: Any, deps: Any) -> int:
        """The report of one day."""
        self.calls["report", context.partition.day] += 1
        return int(deps["raw"] * 10)


@pytest.fixture
def mill() -> Iterator[Mill]:
    made = Mill()
    yield made
    made.gate.set()


@pytest.fixture
def runtime(mill: Mill, store_url: str) -> Iterator[fs.Runtime]:
    with fs.Runtime(mill.pipeline, store=store_url, io_manager="memory", scheduler=False, sensors=False) as started:
        yield started


@pytest.fixture
def light(mill: Mill) -> Iterator[fs.Runtime]:
    """The same, on memory alone: for rules that have nothing to do with the store."""
    with fs.Runtime(mill.pipeline, store="memory://", scheduler=False, sensors=False) as started:
        yield started


def test_a_month_is_made_and_each_partition_has_a_run_of_its_own(mill: Mill, runtime: fs.Runtime) -> None:
    told: list[Backfill] = []
    row = runtime.backfill("+report", partitions=MONTH, max_parallel=4, progress=told.append)
    assert (row.status, row.total, row.succeeded, row.failed, row.skipped) == ("success", 31, 31, 0, 0)
    assert mill.most <= 4
    assert told[-1] == row
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert runtime.get("report", partition="2025-01-07") == 70
    keys = {run.run_key for run in runtime.runs.list(limit=100)}
    assert keys == {f"backfill:{row.id}:d:2025-01-{day:02}" for day in range(1, 32)}
    assert set(mill.calls.values()) == {1}


def test_one_partition_that_fails_loses_nothing_of_the_others(mill: Mill, runtime: fs.Runtime) -> None:
    mill.bad = {3, 7}
    row = runtime.backfill("+report", partitions="2025-01-01..2025-01-10")
    assert (row.status, row.succeeded, row.failed) == ("failed", 8, 2)
    failed = runtime.backfills.partitions(row.id, status="failed")
    assert [each.partition for each in failed] == [date(2025, 1, 3), date(2025, 1, 7)]
    assert all("is bad" in str(each.error) for each in failed)
    assert runtime.get("report", partition="2025-01-04") == 40
    mill.bad.clear()
    again = runtime.backfills.retry_failed(row.id)
    assert again.status == "running"
    done = runtime.backfills.wait(row.id, timeout=PATIENCE)
    assert (done.status, done.total, done.succeeded, done.failed) == ("success", 10, 10, 0)
    retried = runtime.backfills.partitions(row.id)[2]
    assert runtime.runs.get(str(retried.run_id)).retry_of == failed[0].run_id
    assert mill.calls["raw", 3] == 2
    assert mill.calls["raw", 4] == 1


def test_what_was_made_before_is_skipped_unless_forced(mill: Mill, runtime: fs.Runtime) -> None:
    runtime.materialize_all("report", partition="2025-01-02")
    runtime.materialize("raw", partition="2025-01-03")
    row = runtime.backfill("+report", partitions="2025-01-01..2025-01-03")
    assert (row.status, row.succeeded, row.skipped) == ("success", 2, 1)
    assert mill.calls["raw", 2] == 1
    row = runtime.backfill("+report", partitions="2025-01-01..2025-01-03", force=True)
    assert (row.status, row.succeeded, row.skipped) == ("success", 3, 0)
    runtime.invalidate("report", partition="2025-01-01")
    row = runtime.backfill("+report", partitions="2025-01-01..2025-01-03")
    assert (row.succeeded, row.skipped) == (1, 2)


def test_a_paused_backfill_asks_for_no_more_and_goes_on_when_it_is_resumed(mill: Mill, runtime: fs.Runtime) -> None:
    mill.gate.clear()
    row = runtime.backfills.start("raw", MONTH, max_parallel=2)
    for _ in range(2):
        assert mill.entered.acquire(timeout=PATIENCE)
    paused = runtime.backfills.pause(row.id, by="ada")
    assert (paused.status, paused.running) == ("paused", 2)
    assert runtime.backfills.pause(row.id).status == "paused"
    mill.gate.set()
    runtime.drain(timeout=PATIENCE)
    rest = runtime.backfills.get(row.id)
    assert (rest.status, rest.succeeded, rest.pending) == ("paused", 2, 29)
    assert runtime.backfills.resume(row.id).status == "running"
    assert runtime.backfills.wait(row.id, timeout=PATIENCE).succeeded == 31
    said = [each.event_type for each in runtime.audit.list(resource=f"backfill:{row.id}")]
    assert said == ["backfill.finished", "backfill.resumed", "backfill.paused", "backfill.started"]


def test_a_cancelled_backfill_cancels_what_runs(mill: Mill, runtime: fs.Runtime) -> None:
    mill.gate.clear()
    row = runtime.backfills.start("raw", MONTH, max_parallel=3)
    assert mill.entered.acquire(timeout=PATIENCE)
    over = runtime.backfills.cancel(row.id, by="ada")
    assert (over.status, over.cancelled, over.succeeded, over.total) == ("cancelled", 31, 0, 31)
    assert {run.status for run in runtime.runs.list()} == {"cancelled"}
    mill.gate.set()
    runtime.drain(timeout=PATIENCE)
    assert runtime.backfills.get(row.id) == over
    for call in (runtime.backfills.pause, runtime.backfills.resume, runtime.backfills.cancel):
        with pytest.raises(ValidationError, match=f"got: {row.id}, which is cancelled"):
            call(row.id)
    with pytest.raises(ValidationError, match="start another one"):
        runtime.backfills.retry_failed(row.id)


def test_a_backfill_goes_on_after_a_restart(mill: Mill, make_store_url: Callable[[str], str]) -> None:
    url = make_store_url("sqlite")
    mill.gate.clear()
    first = fs.Runtime(mill.pipeline, store=url)
    with first:
        row = first.backfills.start("raw", MONTH, max_parallel=2)
        assert mill.entered.acquire(timeout=PATIENCE)
        first.stop(timeout=0)
    mill.gate.set()
    with fs.Runtime(mill.pipeline, store=url) as second:
        done = second.backfills.wait(row.id, timeout=PATIENCE)
    assert (done.status, done.succeeded) == ("success", 31)


def test_a_run_that_somebody_cancels_fails_the_backfill_and_is_tried_again(mill: Mill, light: fs.Runtime) -> None:
    mill.gate.clear()
    row = light.backfills.start("raw", "2025-01-01..2025-01-02", max_parallel=1)
    assert mill.entered.acquire(timeout=PATIENCE)
    [run] = light.runs.list(status="running")
    light.runs.cancel(run.run_id, reason="not this one")
    mill.gate.set()
    over = light.backfills.wait(row.id, timeout=PATIENCE)
    assert (over.status, over.succeeded, over.cancelled) == ("failed", 1, 1)
    assert light.backfills.partitions(row.id)[0].error == "not this one"
    light.backfills.retry_failed(row.id)
    assert light.backfills.wait(row.id, timeout=PATIENCE).succeeded == 2


def test_a_partition_that_outlasts_its_timeout_fails_alone() -> None:
    pipeline, release, once = fs.Pipeline("slow"), threading.Event(), fs.RetryPolicy(max_attempts=1)
    pipeline.asset(lambda c: c.partition != "slow" or release.wait(), name="each", timeout="50ms", retry=once)
    with fs.Runtime(pipeline, store="memory://") as runtime:
        row = runtime.backfill("each", partitions=["a", "slow", "b"], timeout=PATIENCE)
        release.set()
    assert (row.status, row.succeeded, row.failed) == ("failed", 2, 1)


def test_those_who_wait_for_people_take_no_place() -> None:
    pipeline = fs.Pipeline("asking")

    @pipeline.asset
    def each(context: Any) -> object:
        """Asks about a."""
        return fs.WaitForApproval("sure?") if context.partition == "a" and context.approval is None else 1

    with fs.Runtime(pipeline, store="memory://") as runtime:
        row = runtime.backfills.start("each", ["a", "b", "c"], max_parallel=1)
        runtime.drain(timeout=PATIENCE)
        assert (runtime.backfills.get(row.id).succeeded, runtime.backfills.get(row.id).running) == (2, 1)
        runtime.approvals.approve(runtime.approvals.list_pending()[0].id)
        assert runtime.backfills.wait(row.id, timeout=PATIENCE).status == "success"


def test_asking_again_under_an_id_of_ones_own_changes_nothing(mill: Mill, light: fs.Runtime) -> None:
    for _ in range(2):
        row = light.backfills.start("raw", MONTH, id="january")
        assert light.backfills.wait("january", timeout=PATIENCE).succeeded == 31
    assert len(light.backfills.list()) == 1
    assert set(mill.calls.values()) == {1}
    with pytest.raises(ValidationError, match="use another id"):
        light.backfills.start("raw", "2025-01-01", id=row.id)


def test_who_waits_too_short_leaves_the_backfill_as_it_is(mill: Mill, light: fs.Runtime) -> None:
    mill.gate.clear()
    with pytest.raises(TimeoutExceeded, match="goes on"):
        light.backfill("raw", partitions=MONTH, timeout="10ms")
    mill.gate.set()
    [row] = light.backfills.list()
    assert light.backfills.wait(row.id, timeout=PATIENCE).succeeded == 31


def test_a_client_starts_pauses_and_cancels_beside_a_service(mill: Mill, make_store_url: Callable[[str], str]) -> None:
    url = make_store_url("sqlite")
    with fs.Runtime(mill.pipeline, store=url), fs.Client(mill.pipeline, store=url) as client:
        row = client.backfill("raw", partitions="2025-01-01..2025-01-05", timeout=PATIENCE)
        assert (row.status, row.succeeded) == ("success", 5)
        mill.gate.clear()
        row = client.backfills.start("raw", "2025-02-01..2025-02-05", max_parallel=1)
        assert client.backfills.pause(row.id).status == "paused"
        assert client.backfills.cancel(row.id).status == "cancelled"
        mill.gate.set()


def test_several_backfills_go_on_at_once_and_come_to_rest(mill: Mill, light: fs.Runtime) -> None:
    ids = [light.backfills.start("raw", f"202{year}-01-01..202{year}-01-20").id for year in range(5, 9)]
    assert [light.backfills.wait(id, timeout=PATIENCE).succeeded for id in ids] == [20] * 4
    light.drain(timeout=PATIENCE)


def test_telemetry_hears_when_a_backfill_starts_and_ends(light: fs.Runtime) -> None:
    told, over = list[tuple[str, Any]](), threading.Event()

    def hear(event: str, measured: dict[str, Any], about: dict[str, Any]) -> None:
        told.append((event, about))
        if event.endswith("finished"):
            over.set()

    light.telemetry.attach("flowstone.backfill.", hear)
    row = light.backfill("raw", partitions="2025-01-01..2025-01-02")
    assert over.wait(PATIENCE)
    assert told == [
        ("flowstone.backfill.started", {"backfill": row.id, "asset": "raw"}),
        ("flowstone.backfill.finished", {"backfill": row.id, "status": "success"}),
    ]


def test_a_crash_of_the_actor_loses_nothing(mill: Mill, light: fs.Runtime) -> None:
    mill.gate.clear()
    row = light.backfills.start("raw", "2025-01-01..2025-01-06", max_parallel=2)
    assert mill.entered.acquire(timeout=PATIENCE)
    crash(light.actor("services", "runs", "backfills"))
    mill.gate.set()
    assert light.backfills.wait(row.id, timeout=PATIENCE).succeeded == 6
    assert set(mill.calls.values()) == {1}


def test_a_run_that_ends_between_a_look_and_its_answer_is_heard_of(
    mill: Mill, light: fs.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill.gate.clear()
    row = light.backfills.start("raw", "2025-01-01..2025-01-03", max_parallel=1)
    assert mill.entered.acquire(timeout=PATIENCE)
    database, held, looked = light._services.database, [], threading.Event()
    read_later = database.read_later

    def hold(query: Any, then: Any) -> None:
        if query is store.due and not looked.is_set():
            read_later(query, lambda outcome: (held.append(lambda: then(outcome)), looked.set()))
        else:
            read_later(query, then)

    monkeypatch.setattr(database, "read_later", hold)
    crash(light.actor("services", "runs", "backfills"))
    assert looked.wait(PATIENCE)
    mill.gate.set()
    (run,) = light.runs.list()
    Handle(run.run_id, light._services).result(timeout=PATIENCE)
    for answer in held:
        answer()
    assert light.backfills.wait(row.id, timeout=PATIENCE).succeeded == 3


def test_backfills_are_listed_newest_first(light: fs.Runtime) -> None:
    ids = [light.backfill("raw", partitions=f"2025-01-0{day}").id for day in (1, 2, 3)]
    assert [row.id for row in light.backfills.list()] == ids[::-1]
    page = light.backfills.list(limit=2)
    assert [row.id for row in light.backfills.list(limit=2, cursor=page.next_cursor)] == ids[:1]
    assert light.backfills.list(status="failed") == ()
    with pytest.raises(ValidationError, match="expected status to be one of"):
        light.backfills.list(status="broken")


@pytest.mark.parametrize("call", ["get", "pause", "resume", "cancel", "retry_failed", "partitions", "wait"])
def test_an_unknown_backfill_is_not_found(light: fs.Runtime, call: str) -> None:
    with pytest.raises(BackfillNotFound, match="'nothing' not found"):
        getattr(light.backfills, call)("nothing")
    with pytest.raises(BackfillNotFound, match="5 not found"):
        getattr(light.backfills, call)(5)


@pytest.mark.parametrize("options", [{"max_parallel": 0}, {"max_parallel": True}, {"force": "yes"}, {"id": "a:b"}])
def test_wrong_options_are_refused(light: fs.Runtime, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        light.backfills.start("raw", MONTH, **options)
    assert light.backfills.list() == ()


def test_an_asset_that_has_left_the_code_fails_its_partitions(mill: Mill, make_store_url: Callable[[str], str]) -> None:
    url = make_store_url("sqlite")
    with fs.Client(mill.pipeline, store=url) as client:
        row = client.backfills.start("raw", "2025-01-01..2025-01-03")
    with fs.Runtime(fs.Pipeline("empty"), store=url) as runtime:
        over = runtime.backfills.wait(row.id, timeout=PATIENCE)
        assert (over.status, over.failed) == ("failed", 3)
        assert str(runtime.backfills.partitions(row.id)[0].error).startswith("asset_not_found")
