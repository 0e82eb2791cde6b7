"""Claims, settling, putting back: the steps of a run under its lease."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flowstone.core.catalog import Catalog
from flowstone.core.run import RunStatus, Source, SourceKind
from flowstone.errors import ExecutionError, StaleState
from flowstone.io import StoredValue
from flowstone.lineage.node import Input
from flowstone.runs import store
from flowstone.runs.attempts import Failed, Repeated, Snoozed, Succeeded, Verdict
from flowstone.runs.leases import Claimed, advance, claim, settle
from flowstone.runs.ledger import Lease, Newest, Progress
from flowstone.runs.records import Run
from flowstone.runs.recovery import MAX_INTERRUPTIONS, put_back, recover, release_busy
from flowstone.runs.standing import ALREADY
from flowstone.runs.store import Requested
from flowstone.state.database import Database

Ask = Callable[..., Requested]
NOW = datetime(2025, 1, 15, 2, tzinfo=UTC)
STORED = StoredValue(manager="memory", location="here", data_version="1")
BOOT = "boot-1"


class Steps:
    """The steps of runs on one store, as the dispatcher and the materializers take them."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self.database = database
        self.graph = catalog.graph
        self.now = NOW

    def claim(self, limit: int = 10, boot: str = BOOT) -> Claimed:
        return self.database.transact(lambda c: claim(c, self.graph, boot=boot, now=self.now, limit=limit))

    def settle(self, lease: Lease, asset: str, verdict: Verdict, **options: Any) -> Progress:
        return self.database.transact(
            lambda c: settle(c, self.graph, lease, asset, verdict, now=self.now, duration=0.5, **options)
        )

    def put_back(self, run_id: str, busy: tuple[str, ...] = ()) -> RunStatus | None:
        return self.database.transact(
            lambda c: put_back(c, run_id, now=self.now, reason="a crash", boot=BOOT, busy=busy)
        )

    def run(self, run_id: str) -> Run:
        found = self.database.read(lambda c: store.find(c, run_id))
        assert found is not None
        return found


@pytest.fixture
def steps(database: Database, catalog: Catalog) -> Steps:
    return Steps(database, catalog)


def test_a_claim_runs_the_roots_and_success_starts_what_depends_on_them(ask: Ask, steps: Steps) -> None:
    run_id = ask("+report", "monday").run_id
    (claimed,) = steps.claim().claims
    assert [started.asset for started in claimed.progress.start] == ["raw"]
    progress = steps.settle(claimed.lease, "raw", Succeeded(STORED))
    assert [started.asset for started in progress.start] == ["clean"]
    steps.settle(claimed.lease, "clean", Succeeded(STORED))
    assert steps.settle(claimed.lease, "report", Succeeded(STORED)).finished is RunStatus.SUCCESS
    run = steps.run(run_id)
    assert (run.status, run.completed_at) == (RunStatus.SUCCESS, NOW)
    assert [m.status for m in run.materializations] == ["success"] * 3
    assert run.materializations[0].stored == STORED


def test_what_a_transaction_has_just_made_is_at_hand_for_what_it_starts(ask: Ask, steps: Steps) -> None:
    run_id = ask("+report", "monday").run_id
    (claimed,) = steps.claim().claims
    assert claimed.progress.start[0].at_hand == ()
    (clean,) = steps.settle(claimed.lease, "raw", Succeeded(STORED)).start
    monday = claimed.partition
    assert clean.at_hand == (Newest("raw", monday, run_id, STORED),)
    assert clean.newest("raw", monday) is clean.at_hand[0]
    assert clean.newest("raw", "tuesday") is clean.newest("report", monday) is None
    retried = Repeated(ExecutionError("boom"), NOW)
    assert [again.at_hand for again in steps.settle(claimed.lease, "clean", retried).start] == [()]


def test_a_higher_priority_is_claimed_first_and_older_before_newer(ask: Ask, steps: Steps) -> None:
    first, second, urgent = ask("raw", "a"), ask("raw", "b"), ask("raw", "c", priority=1)
    assert [c.lease.run_id for c in steps.claim(limit=2).claims] == [urgent.run_id, first.run_id]
    assert [c.lease.run_id for c in steps.claim(limit=2).claims] == [second.run_id]


def test_two_runs_of_one_asset_and_partition_never_run_at_once(ask: Ask, steps: Steps) -> None:
    for partition in ("monday", "monday", "tuesday"):
        ask("raw", partition)
    claims = steps.claim().claims
    assert sorted(c.partition for c in claims) == ["monday", "tuesday"]
    assert steps.claim().claims == ()
    steps.settle(claims[0].lease, "raw", Failed(ExecutionError("boom")))
    assert [c.partition for c in steps.claim().claims] == ["monday"]


def test_many_blocked_runs_do_not_hide_those_behind_them(ask: Ask, steps: Steps) -> None:
    for _ in range(250):
        ask("raw", "monday")
    ask("raw", "tuesday")
    assert sorted(c.partition for c in steps.claim(limit=2).claims) == ["monday", "tuesday"]


def test_a_call_that_outlived_its_attempt_holds_its_partition_until_it_ends(ask: Ask, steps: Steps) -> None:
    ask("raw", "monday")
    ask("raw", "monday")
    (claimed,) = steps.claim().claims
    steps.settle(claimed.lease, "raw", Failed(ExecutionError("gave up")), still_busy=True)
    assert steps.claim().claims == ()
    steps.database.transact(lambda c: release_busy(c, claimed.lease.run_id, "raw", boot=BOOT))
    assert len(steps.claim().claims) == 1


def test_requests_that_piled_up_behind_a_run_coalesce(ask: Ask, steps: Steps) -> None:
    ask("raw", "monday")
    waiting = ask("raw", "monday")
    (claimed,) = steps.claim().claims
    arrived_meanwhile = ask("raw", "monday")
    steps.settle(claimed.lease, "raw", Succeeded(STORED))
    taken = steps.claim()
    assert taken.finished == (waiting.run_id,)
    assert [c.lease.run_id for c in taken.claims] == [arrived_meanwhile.run_id]
    (skipped,) = steps.run(waiting.run_id).materializations
    assert (skipped.status, skipped.reason) == ("skipped", ALREADY)
    assert steps.run(waiting.run_id).status is RunStatus.SUCCESS


@pytest.mark.parametrize("own", [{"force": True}, {"payload": {"order": 1}}])
def test_forced_runs_and_those_with_a_payload_never_coalesce(ask: Ask, steps: Steps, own: dict[str, object]) -> None:
    ask("raw", "monday")
    ask("raw", "monday", **own)
    (claimed,) = steps.claim().claims
    steps.settle(claimed.lease, "raw", Succeeded(STORED))
    assert len(steps.claim().claims) == 1


def made(steps: Steps, lease: Lease, asset: str, version: str, *inputs: Input) -> Progress:
    return steps.settle(lease, asset, Succeeded(replace(STORED, data_version=version), inputs))


def test_what_is_made_from_what_a_run_makes_is_made_too(ask: Ask, steps: Steps) -> None:
    waiting = ask("+clean", "monday").run_id
    steps.database.transact(lambda c: c.execute("update run set priority = -1 where run_id = :id", id=waiting))
    ask("clean", "monday")
    (single,) = steps.claim(limit=1).claims
    made(steps, single.lease, "clean", "1")
    (claimed,) = steps.claim().claims
    assert [started.asset for started in claimed.progress.start] == ["raw"]
    assert [m.status for m in steps.run(waiting).materializations] == ["running", "pending"]
    steps.put_back(waiting)
    (claimed,) = steps.claim().claims
    assert [started.asset for started in made(steps, claimed.lease, "raw", "2").start] == ["clean"]


def test_what_others_made_from_an_earlier_value_is_made_again(ask: Ask, steps: Steps) -> None:
    waiting = ask("+clean", "monday").run_id
    steps.database.transact(lambda c: c.execute("update run set priority = -1 where run_id = :id", id=waiting))
    for asset in ("clean", "raw"):
        ask(asset, "monday")
    clean, raw = steps.claim(limit=2).claims
    made(steps, raw.lease, "raw", "2")
    made(steps, clean.lease, "clean", "1", Input("raw", "monday", "run_earlier", "1"))
    (claimed,) = steps.claim().claims
    assert [started.asset for started in claimed.progress.start] == ["clean"]
    assert [m.status for m in steps.run(waiting).materializations] == ["skipped", "running"]


def test_a_run_after_a_success_runs_again(ask: Ask, steps: Steps) -> None:
    ask("raw", "monday")
    steps.settle(steps.claim().claims[0].lease, "raw", Succeeded(STORED))
    ask("raw", "monday")
    assert len(steps.claim().claims) == 1


def test_a_repeated_attempt_puts_the_run_off_and_counts(ask: Ask, steps: Steps) -> None:
    run_id = ask().run_id
    (claimed,) = steps.claim().claims
    later = NOW + timedelta(seconds=10)
    assert steps.settle(claimed.lease, "raw", Repeated(ExecutionError("boom"), later)).released
    assert steps.claim().claims == ()
    assert steps.claim().next_at == later
    steps.now = later
    (again,) = steps.claim().claims
    assert again.progress.start[0].attempt == 2
    assert again.lease.fence > claimed.lease.fence
    steps.settle(again.lease, "raw", Succeeded(STORED))
    assert steps.run(run_id).attempt == 2


@pytest.mark.parametrize("snoozed", [False, True])
def test_a_pause_that_is_over_when_it_is_written_starts_the_attempt_that_follows(
    ask: Ask, steps: Steps, snoozed: bool
) -> None:
    ask("raw", "monday")
    (claimed,) = steps.claim().claims
    verdict = (Snoozed if snoozed else Repeated)(ExecutionError("boom"), NOW)
    steps.now = NOW + timedelta(minutes=10)
    (started,) = steps.settle(claimed.lease, "raw", verdict).start
    expected = (1, steps.now) if snoozed else (2, None)
    assert (started.attempt, started.snoozed_since) == expected
    progress = steps.settle(claimed.lease, "raw", Succeeded(STORED), attempt=started.attempt)
    assert progress.finished is RunStatus.SUCCESS


def test_a_snooze_uses_up_no_attempt_and_remembers_since_when(ask: Ask, steps: Steps) -> None:
    ask()
    (claimed,) = steps.claim().claims
    steps.settle(claimed.lease, "raw", Snoozed(ExecutionError("not there"), NOW + timedelta(seconds=30)))
    steps.now = NOW + timedelta(seconds=30)
    (again,) = steps.claim().claims
    assert again.progress.start[0].attempt == 1
    assert again.progress.start[0].snoozed_since == NOW


def test_a_repeat_does_not_hold_up_independent_branches(ask: Ask, steps: Steps) -> None:
    ask("raw, aside")
    (claimed,) = steps.claim().claims
    later = NOW + timedelta(seconds=10)
    waiting = steps.settle(claimed.lease, "raw", Repeated(ExecutionError("boom"), later))
    assert (waiting.released, waiting.wait_until) == (False, later)
    steps.now = later
    due = steps.database.transact(lambda c: advance(c, steps.graph, claimed.lease, now=later))
    assert [started.asset for started in due.start] == ["raw"]


def test_a_failure_is_the_error_of_the_run_and_starts_with_its_type(ask: Ask, steps: Steps) -> None:
    run_id = ask("+report").run_id
    (claimed,) = steps.claim().claims
    assert steps.settle(claimed.lease, "raw", Failed(ExecutionError("boom"))).finished is RunStatus.FAILED
    run = steps.run(run_id)
    assert run.error == "execution_error: boom"
    assert [m.status for m in run.materializations] == ["failed", "skipped", "skipped"]


def test_a_late_writer_whose_lease_is_gone_changes_nothing(ask: Ask, steps: Steps) -> None:
    run_id = ask().run_id
    (first,) = steps.claim().claims
    steps.put_back(run_id)
    (second,) = steps.claim().claims
    with pytest.raises(StaleState):
        steps.settle(first.lease, "raw", Succeeded(STORED))
    assert steps.run(run_id).materializations[0].status == "running"
    steps.settle(second.lease, "raw", Succeeded(STORED))
    with pytest.raises(StaleState):
        steps.settle(second.lease, "raw", Succeeded(STORED))


def test_an_interruption_uses_up_no_attempt_and_leaves_an_audit_row(ask: Ask, steps: Steps) -> None:
    run_id = ask().run_id
    steps.claim()
    assert steps.put_back(run_id) is RunStatus.QUEUED
    assert steps.put_back(run_id) is None
    (again,) = steps.claim().claims
    assert again.progress.start[0].attempt == 1
    run = steps.run(run_id)
    assert (run.interruptions, run.attempt) == (1, 0)
    rows = steps.database.read(lambda c: c.execute("select * from audit where event_type = 'run.interrupted'"))
    assert [row.resource for row in rows] == [f"run:{run_id}"]


def test_a_put_back_run_waits_for_the_call_that_still_goes_on(ask: Ask, steps: Steps) -> None:
    run_id = ask().run_id
    steps.claim()
    steps.put_back(run_id, busy=("raw",))
    assert steps.claim().claims == ()
    steps.database.transact(lambda c: release_busy(c, run_id, "raw", boot=BOOT))
    assert len(steps.claim().claims) == 1


def test_running_rows_of_an_earlier_boot_are_put_back_and_its_calls_are_gone(ask: Ask, steps: Steps) -> None:
    first, second = ask("raw", "a").run_id, ask("raw", "b").run_id
    steps.claim()
    steps.put_back(second, busy=("raw",))
    recovered = steps.database.transact(lambda c: recover(c, boot="boot-2", now=NOW))
    assert recovered == (first,)
    assert {c.lease.run_id for c in steps.claim(boot="boot-2").claims} == {first, second}


def test_a_run_that_is_interrupted_ten_times_in_a_row_fails_as_poisoned(ask: Ask, steps: Steps) -> None:
    run_id = ask("+report").run_id
    for _ in range(MAX_INTERRUPTIONS):
        assert len(steps.claim().claims) == 1
        status = steps.put_back(run_id)
    assert status is RunStatus.FAILED
    run = steps.run(run_id)
    assert run.error is not None and run.error.startswith("poisoned_run: ")
    assert [m.status for m in run.materializations] == ["failed", "skipped", "skipped"]
    assert steps.claim().claims == ()


def test_an_attempt_that_ends_breaks_the_row_of_interruptions(ask: Ask, steps: Steps) -> None:
    run_id = ask("+report").run_id
    for _ in range(MAX_INTERRUPTIONS - 1):
        steps.claim()
        steps.put_back(run_id)
    (claimed,) = steps.claim().claims
    steps.settle(claimed.lease, "raw", Succeeded(STORED))
    assert steps.put_back(run_id) is RunStatus.QUEUED
    assert steps.run(run_id).interruptions == MAX_INTERRUPTIONS


def test_a_run_behind_others_of_its_source_waits_for_them(ask: Ask, steps: Steps, catalog: Catalog) -> None:
    nightly = Source(SourceKind.SCHEDULE, "nightly")
    first = ask("raw", "a", source=nightly)
    second = ask("raw", "b", source=nightly)
    steps.database.transact(lambda c: c.execute("update run set behind = true where run_id = :id", id=second.run_id))
    (claimed,) = steps.claim().claims
    assert claimed.lease.run_id == first.run_id
    steps.settle(claimed.lease, "raw", Succeeded(STORED))
    assert [c.lease.run_id for c in steps.claim().claims] == [second.run_id]


def test_an_asset_that_left_the_code_fails_its_run(ask: Ask, steps: Steps) -> None:
    run_id = ask("raw").run_id
    steps.graph = Catalog([]).graph
    assert steps.claim().finished == (run_id,)
    assert (steps.run(run_id).error or "").startswith("asset_not_found: ")


def test_the_latest_value_follows_the_order_of_commits(ask: Ask, steps: Steps) -> None:
    older, newer = ask("raw", "monday", force=True), ask("raw", "monday", force=True, priority=1)
    for _ in range(2):
        (claimed,) = steps.claim().claims
        steps.settle(claimed.lease, "raw", Succeeded(STORED))
    latest = steps.database.read(lambda c: store.latest(c, "raw", "monday"))
    assert latest is not None
    assert latest.run_id == older.run_id != newer.run_id
