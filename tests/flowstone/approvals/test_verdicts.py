"""What becomes of an approval: decided once, by people or by its deadline."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flowstone.approvals.approval import Approval, approval_id, decision_of
from flowstone.approvals.verdicts import Verdict, after_deadline, decided, is_overdue, rejection
from flowstone.core.approval import ApprovalStatus, OnTimeout, WaitForApproval
from flowstone.errors import StaleState, ValidationError
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
FINAL = [status for status in ApprovalStatus if status is not ApprovalStatus.PENDING]


def pending(**options: Any) -> Approval:
    made = Approval(
        id="approval_a",
        asset="report",
        partition=None,
        run_id="run_a",
        message="a large day",
        context=None,
        timeout=3600.0,
        on_timeout=OnTimeout.EXPIRE,
        deadline=LATER,
        escalations=0,
        status=ApprovalStatus.PENDING,
        by=None,
        reason=None,
        payload=None,
        requested_at=NOW,
        decided_at=None,
    )
    return replace(made, **options)


def said(status: ApprovalStatus, by: str = "ann", **options: Any) -> Verdict:
    return Verdict(status=status, by=by, **options)


@given(st.sampled_from(FINAL), st.sampled_from(list(ApprovalStatus)))
def test_an_approval_is_decided_once_and_later_decisions_name_the_first(
    first: ApprovalStatus, second: ApprovalStatus
) -> None:
    after = decided(pending(), said(first, reason="because"), NOW)
    with pytest.raises(StaleState, match=f"was {first} by ann .*because") as caught:
        decided(after, said(second, by="bob"), LATER)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("on_timeout", "status"), [("expire", "expired"), ("approve", "approved"), ("reject", "rejected")]
)
def test_a_deadline_decides_as_was_asked(on_timeout: str, status: str) -> None:
    approval = pending(on_timeout=OnTimeout(on_timeout))
    after = decided(approval, after_deadline(approval), LATER)
    assert (after.status, after.by, after.decided_at) == (status, "timeout", LATER)


def test_an_escalation_is_no_decision_and_gives_a_new_deadline() -> None:
    approval = pending(on_timeout=OnTimeout.ESCALATE)
    once = decided(approval, after_deadline(approval), LATER)
    assert (once.status, once.deadline, once.escalations) == ("pending", LATER + timedelta(hours=1), 1)
    assert decided(pending(timeout=None, deadline=None), said(ApprovalStatus.PENDING), NOW).deadline is None


def test_a_deadline_counts_from_its_very_instant_and_only_while_nobody_has_decided() -> None:
    assert is_overdue(pending(), LATER)
    assert not is_overdue(pending(), LATER - timedelta(microseconds=1))
    assert not is_overdue(pending(deadline=None), LATER)
    assert not is_overdue(pending(status=ApprovalStatus.APPROVED), LATER)


@pytest.mark.parametrize("status", list(ApprovalStatus))
def test_a_function_is_told_of_what_lets_it_go_on_alone(status: ApprovalStatus) -> None:
    decision = decision_of(pending(status=status, by="ann", payload={"rows": 1}, reason="fine"))
    if status in ("approved", "modified"):
        assert decision is not None
        assert (decision.decision, decision.by, decision.payload) == (status, "ann", {"rows": 1})
    else:
        assert decision is None


def test_a_rejection_names_who_decided_and_why() -> None:
    text = str(rejection(pending(status=ApprovalStatus.REJECTED, by="ann", reason="too large")))
    assert text == "the approval of report was rejected by ann: too large (a large day)"
    assert "expired by timeout" in str(rejection(pending(status=ApprovalStatus.EXPIRED, by="timeout")))


@given(st.tuples(st.text(), st.text(), st.integers(0, 5)), st.tuples(st.text(), st.text(), st.integers(0, 5)))
def test_ids_differ_for_different_questions(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    names = all(":" not in part for part in (*one[:2], *other[:2]))
    assert not names or (approval_id(*one) == approval_id(*other)) == (one == other)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"message": ""}, "expected message"),
        ({"message": 5}, "expected message"),
        ({"message": "ok?", "context": {1j}}, "expected context of an approval to be JSON"),
        ({"message": "ok?", "context": float("nan")}, "expected context of an approval to be JSON"),
        ({"message": "ok?", "timeout": 0}, "timeout"),
        ({"message": "ok?", "timeout": "soon"}, "timeout"),
        ({"message": "ok?", "on_timeout": "explode"}, "expected on_timeout to be one of expire, approve"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        WaitForApproval(**options)


def test_a_question_stays_as_it_was_asked() -> None:
    told = {"rows": [3]}
    question = WaitForApproval("ok?", told)
    told["rows"].append(object())  # type: ignore[arg-type]
    assert question.context == {"rows": [3]}
    assert WaitForApproval("caf\udce9").message == r"caf\udce9"
