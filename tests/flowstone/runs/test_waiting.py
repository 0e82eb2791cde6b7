"""Runs that wait for people, step by step: what is kept, what is started again, and what lost answers can't repeat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from flowstone.approvals import store as approvals
from flowstone.approvals.verdicts import Verdict
from flowstone.core.approval import ApprovalStatus, WaitForApproval
from flowstone.core.catalog import Catalog
from flowstone.core.run import RunStatus
from flowstone.errors import StaleState
from flowstone.io import StoredValue
from flowstone.runs import approving, store
from flowstone.runs.attempts import Succeeded, Waiting
from flowstone.runs.leases import advance, claim, settle
from flowstone.runs.ledger import Lease, Progress
from flowstone.runs.recovery import MAX_INTERRUPTIONS, put_back
from flowstone.state.database import Database

BOOT = "boot"
ASKS = Waiting(WaitForApproval("ok?"))
DONE = Succeeded(StoredValue(manager="memory", location="here", data_version="1"))

Ask = Callable[..., Any]


class Steps:
    """The steps of one run of `raw aside`, of which `raw` asks people."""

    def __init__(self, database: Database, catalog: Catalog, ask: Ask, now: datetime) -> None:
        self.database = database
        self.graph = catalog.graph
        self.now = now
        self.run_id = ask("raw aside").run_id

    def claim(self) -> Lease:
        [claimed] = self.database.transact(
            lambda connection: claim(connection, self.graph, boot=BOOT, now=self.now, limit=10)
        ).claims
        return claimed.lease

    def settle(self, lease: Lease, asset: str, verdict: Any, **options: Any) -> Progress:
        return self.database.transact(
            lambda connection: settle(
                connection, self.graph, lease, asset, verdict, now=self.now, duration=0.5, **options
            )
        )

    def advance(self, lease: Lease, *in_hand: str) -> Progress:
        return self.database.transact(
            lambda connection: advance(connection, self.graph, lease, now=self.now, in_hand=in_hand)
        )

    def decide(self, status: ApprovalStatus) -> approving.Decided:
        [approval] = self.database.read(approvals.pending)
        said = Verdict(status=status, by="ann")
        return self.database.transact(
            lambda connection: approving.decide(connection, self.graph, approval.id, said, self.now)
        )

    def put_back(self) -> RunStatus | None:
        return self.database.transact(
            lambda connection: put_back(connection, self.run_id, now=self.now, reason="a crash", boot=BOOT)
        )

    def statuses(self) -> tuple[str, dict[str, str]]:
        run = self.database.read(lambda connection: store.find(connection, self.run_id))
        assert run is not None
        return run.status.value, {row.asset: row.status.value for row in run.materializations}


@pytest.fixture
def steps(database: Database, catalog: Catalog, ask: Ask, now: datetime) -> Steps:
    return Steps(database, catalog, ask, now)


def test_a_run_waits_when_nothing_else_is_left_to_do(steps: Steps) -> None:
    lease = steps.claim()
    progress = steps.settle(lease, "raw", ASKS)
    assert (progress.released, progress.waits) == (False, True)
    assert steps.statuses() == ("running", {"raw": "waiting_approval", "aside": "running"})
    assert steps.settle(lease, "aside", DONE).released
    assert steps.statuses()[0] == "waiting_approval"
    with pytest.raises(StaleState):
        steps.advance(lease)


def test_an_approval_while_another_branch_goes_on_starts_the_same_attempt(steps: Steps) -> None:
    lease = steps.claim()
    steps.settle(lease, "raw", ASKS)
    steps.decide(ApprovalStatus.APPROVED)
    [started] = steps.advance(lease, "aside").start
    assert (started.asset, started.attempt) == ("raw", 1)
    assert started.decision is not None
    assert started.decision.by == "ann"


def test_a_question_whose_answer_was_lost_is_not_asked_again_after_the_decision(steps: Steps) -> None:
    lease = steps.claim()
    steps.settle(lease, "raw", ASKS)
    steps.decide(ApprovalStatus.APPROVED)
    [started] = steps.advance(lease, "aside").start
    repeated = steps.settle(lease, "raw", ASKS, attempt=1, approval=None, in_hand=("aside",))
    assert repeated.start == (started,)
    assert steps.database.read(approvals.pending) == ()
    steps.settle(lease, "raw", DONE, attempt=1, approval=started.approval)
    assert steps.statuses()[1]["raw"] == "success"


def test_a_rejection_while_another_branch_goes_on_ends_with_that(steps: Steps) -> None:
    lease = steps.claim()
    steps.settle(lease, "raw", ASKS)
    assert not steps.decide(ApprovalStatus.REJECTED).ended
    assert steps.statuses() == ("running", {"raw": "failed", "aside": "running"})
    assert steps.settle(lease, "aside", DONE).finished is RunStatus.FAILED


def test_a_question_survives_interruptions_and_goes_with_a_poisoned_run(steps: Steps) -> None:
    steps.settle(steps.claim(), "raw", ASKS)
    for _ in range(MAX_INTERRUPTIONS - 1):
        assert steps.put_back() is RunStatus.QUEUED
        assert steps.statuses()[1] == {"raw": "waiting_approval", "aside": "pending"}
        steps.claim()
    assert steps.put_back() is RunStatus.FAILED
    assert steps.statuses() == ("failed", {"raw": "cancelled", "aside": "failed"})
    assert steps.database.read(approvals.pending) == ()


def test_a_decision_while_the_run_is_queued_lets_it_be_taken_up_at_once(steps: Steps) -> None:
    lease = steps.claim()
    steps.settle(lease, "raw", ASKS)
    steps.put_back()
    assert not steps.decide(ApprovalStatus.APPROVED).ended
    steps.claim()
    assert steps.statuses() == ("running", {"raw": "running", "aside": "running"})
