"""Runs that wait for people: they hold no slot, go on when somebody approves, and fail when somebody does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.runs.approval_calls import Approvals

Make = Callable[..., fs.Runtime]


# The store comes first, so that it goes last.
@pytest.fixture
def start(store_url: str, flowstone_runtime: Make) -> Make:
    options = {"store": store_url, "io_manager": "memory"}
    return lambda *pipelines, **more: flowstone_runtime(*pipelines, **{**options, **more})


class Shop:
    """raw -> report -> mail, and aside, which is no business of theirs; report asks people."""

    def __init__(self, **question: Any) -> None:
        self.pipeline = fs.Pipeline("shop")
        self.question = {"message": "a large day", "context": {"rows": 3}, "timeout": "1h", **question}
        self.seen: list[tuple[int, Any]] = []
        self.pipeline.asset(lambda context: 3, name="raw")
        self.pipeline.asset(self.report, name="report")
        self.pipeline.asset(lambda context, report: f"mail of {report}", name="mail")
        self.pipeline.asset(lambda context: "aside", name="aside")

    def report(self, context: fs.Context, raw: int) -> Any:
        self.seen.append((context.attempt, context.approval))
        if context.approval is None:
            return fs.WaitForApproval(**self.question)
        return (raw, context.approval.decision.value, context.approval.by, context.approval.payload)


def ask(runtime: fs.Runtime, selection: str = "*") -> tuple[Any, Any]:
    """A run that waits, and what it asks."""
    handle = runtime.materialize_async(selection)
    runtime.drain(timeout=20)
    [approval] = runtime.approvals.list_pending()
    assert handle.status == "waiting_approval"
    return handle, approval


def statuses(runtime: fs.Runtime, run_id: str) -> dict[str, str]:
    return {row.asset: row.status for row in runtime.runs.get(run_id).materializations}


def test_what_is_asked_is_told_and_other_branches_go_on(start: Make) -> None:
    runtime = start(Shop().pipeline)
    handle, approval = ask(runtime)
    assert statuses(runtime, handle.run_id) == {
        "raw": "success",
        "report": "waiting_approval",
        "mail": "pending",
        "aside": "success",
    }
    assert (approval.asset, approval.message, approval.context) == ("report", "a large day", {"rows": 3})
    assert (approval.run_id, approval.partition, approval.status) == (handle.run_id, None, "pending")
    assert (approval.deadline - approval.requested_at).total_seconds() == 3600
    assert runtime.approvals.get(approval.id) == approval
    assert "waits for people" in str(runtime.why(handle.run_id))


def test_an_approved_asset_is_called_again_as_the_same_attempt_and_then_its_dependents(start: Make) -> None:
    shop = Shop()
    runtime = start(shop.pipeline)
    handle, approval = ask(runtime)
    decided = runtime.approvals.approve(approval.id, by="ann", reason="fine")
    assert (decided.status, decided.by, decided.reason) == ("approved", "ann", "fine")
    assert handle.result(timeout=20).status == "success"
    assert runtime.get("mail") == "mail of (3, 'approved', 'ann', None)"
    assert [attempt for attempt, _ in shop.seen] == [1, 1]
    assert set(statuses(runtime, handle.run_id).values()) == {"success"}
    [row] = runtime.materializations.list(asset="report")
    assert row.attempt == 1


def test_a_modified_one_gets_the_payload(start: Make) -> None:
    runtime = start(Shop().pipeline)
    handle, approval = ask(runtime, "+report")
    runtime.approvals.modify(approval.id, payload={"rows": [1]}, by="ann")
    assert handle.result(timeout=20).value == (3, "modified", "ann", {"rows": [1]})
    assert runtime.approvals.get(approval.id).payload == {"rows": [1]}


def test_a_decision_is_what_every_store_holds_from_the_first_on(start: Make) -> None:
    runtime = start(Shop().pipeline)
    _, approval = ask(runtime, "+report")
    decided = runtime.approvals.modify(approval.id, payload={1: ("x", "\0")}, by="ren\udce9", reason="caf\udce9 \0")
    assert decided == runtime.approvals.get(approval.id)
    assert (decided.payload, decided.by, decided.reason) == ({"1": ["x", "\0"]}, r"ren\udce9", r"caf\udce9 \x00")


def test_a_rejected_one_fails_by_name_at_once_and_its_dependents_are_skipped(start: Make) -> None:
    runtime = start(Shop().pipeline)
    handle, approval = ask(runtime)
    runtime.approvals.reject(approval.id, by="ann", reason="too large")
    assert handle.status == "failed"
    assert statuses(runtime, handle.run_id)["mail"] == "skipped"
    with pytest.raises(fs.ApprovalRejected, match="rejected by ann: too large"):
        handle.result(timeout=20)
    assert runtime.runs.get(handle.run_id).error.startswith("approval_rejected: ")


@pytest.mark.parametrize("decide", ["approve", "reject", "escalate"])
def test_later_decisions_are_refused_with_the_first_one_named(start: Make, decide: str) -> None:
    runtime = start(Shop().pipeline)
    _, approval = ask(runtime)
    runtime.approvals.approve(approval.id, by="ann")
    with pytest.raises(fs.StaleState, match="was approved by ann"):
        getattr(runtime.approvals, decide)(approval.id, by="bob")
    assert runtime.approvals.get(approval.id).by == "ann"


def test_of_many_who_decide_at_once_one_does(start: Make) -> None:
    runtime = start(Shop().pipeline)
    handle, approval = ask(runtime, "+report")
    refused: list[str] = []

    def decide(name: str) -> None:
        try:
            runtime.approvals.approve(approval.id, by=name)
        except fs.StaleState:
            refused.append(name)

    people = [threading.Thread(target=decide, args=(f"p{number}",)) for number in range(6)]
    for person in people:
        person.start()
    for person in people:
        person.join(20)
    winner = runtime.approvals.get(approval.id).by
    assert sorted([*refused, winner]) == [f"p{number}" for number in range(6)]
    assert handle.result(timeout=20).value[2] == winner


def test_a_deadline_that_passes_expires_by_default(start: Make, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop().pipeline)
    handle, approval = ask(runtime)
    flowstone_clock.advance(3599)
    assert handle.status == "waiting_approval"
    flowstone_clock.advance(2)
    with pytest.raises(fs.ApprovalRejected, match="expired by timeout"):
        handle.result(timeout=20)
    assert runtime.approvals.get(approval.id).status == "expired"


def test_a_deadline_may_approve(start: Make, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop(on_timeout="approve").pipeline)
    handle, _ = ask(runtime, "+report")
    flowstone_clock.advance("1h")
    assert handle.result(timeout=20).value == (3, "approved", "timeout", None)


def test_an_escalation_leaves_it_pending_with_a_new_deadline(start: Make, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop(on_timeout="escalate").pipeline)
    handle, approval = ask(runtime)
    flowstone_clock.advance("150m")
    again = runtime.approvals.get(approval.id)
    assert (again.status, again.escalations) == ("pending", 2)
    assert (again.deadline - approval.requested_at).total_seconds() == 3 * 3600
    by_hand = runtime.approvals.escalate(approval.id, by="ann")
    assert (by_hand.deadline - approval.requested_at).total_seconds() == 3.5 * 3600
    assert handle.status == "waiting_approval"
    runtime.approvals.approve(approval.id, by="bob")
    assert handle.result(timeout=20).status == "success"


def test_without_a_timeout_there_is_no_deadline(start: Make, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop(timeout=None).pipeline)
    handle, approval = ask(runtime)
    assert approval.deadline is None
    flowstone_clock.advance("100d")
    assert runtime.approvals.escalate(approval.id).deadline is None
    assert handle.status == "waiting_approval"


def test_deadlines_survive_restarts_and_pass_while_nobody_is_there(
    make_store_url: Callable[[str], str], flowstone_clock: ManualClock
) -> None:
    options: dict[str, Any] = {"store": make_store_url("sqlite"), "clock": flowstone_clock}
    with fs.Runtime(Shop().pipeline, **options) as runtime:
        first, _ = ask(runtime)
        flowstone_clock.advance("30m")
        second = runtime.materialize_async("*")
        runtime.drain(timeout=20)
    flowstone_clock.advance("45m")
    with fs.Runtime(Shop().pipeline, **options) as runtime:
        flowstone_clock.advance(0.001)
        assert runtime.runs.get(first.run_id).status == "failed"
        assert runtime.runs.get(second.run_id).status == "waiting_approval"
        flowstone_clock.advance("15m")
        assert runtime.runs.get(second.run_id).status == "failed"


def test_who_comes_after_the_deadline_is_refused_though_nobody_saw_it_pass(
    make_store_url: Callable[[str], str], flowstone_clock: ManualClock
) -> None:
    url = make_store_url("sqlite")
    with fs.Runtime(Shop().pipeline, store=url, clock=flowstone_clock) as runtime:
        handle, approval = ask(runtime)
    # The deadline was in January 2025 by the manual clock; a client has the real one.
    with fs.Client(Shop().pipeline, store=url) as client:
        with pytest.raises(fs.StaleState, match="expired by timeout"):
            client.approvals.approve(approval.id, by="ann")
        assert client.runs.get(handle.run_id).status == "failed"


def test_a_client_decides_beside_a_runtime(make_store_url: Callable[[str], str]) -> None:
    url, shop = make_store_url("sqlite"), Shop(timeout="30d")
    with fs.Runtime(shop.pipeline, store=url) as runtime, fs.Client(shop.pipeline, store=url) as client:
        handle, approval = ask(runtime, "+report")
        assert [each.id for each in client.approvals.list_pending()] == [approval.id]
        client.approvals.approve(approval.id, by="ann")
        assert handle.result(timeout=20).value[2] == "ann"
        handle, approval = ask(runtime, "+report")
        client.approvals.reject(approval.id, by="bob")
        with pytest.raises(fs.ApprovalRejected, match="bob"):
            handle.result(timeout=20)


def test_a_client_decides_while_another_branch_of_the_run_goes_on(make_store_url: Callable[[str], str]) -> None:
    url, shop, release = make_store_url("sqlite"), Shop(timeout="30d"), threading.Event()
    asked = threading.Event()
    shop.pipeline.asset(lambda context: release.wait(20), name="slow")
    with fs.Runtime(shop.pipeline, store=url) as runtime, fs.Client(shop.pipeline, store=url) as client:
        runtime.pubsub.subscribe("approvals", lambda message: asked.set())
        handle = runtime.materialize_async("*")
        assert asked.wait(20)
        assert handle.status == "running"
        told = threading.Event()
        runtime.telemetry.attach(
            "flowstone.materialization.stop", lambda name, measured, about: about["asset"] == "mail" and told.set()
        )
        client.approvals.approve(client.approvals.list_pending()[0].id, by="ann")
        assert told.wait(20)
        assert handle.status == "running"
        release.set()
        assert handle.result(timeout=20).status == "success"


def test_a_client_without_definitions_leaves_the_rest_to_a_runtime(
    make_store_url: Callable[[str], str], flowstone_clock: ManualClock
) -> None:
    url, shop = make_store_url("sqlite"), Shop(timeout=None)
    with fs.Runtime(shop.pipeline, store=url, clock=flowstone_clock) as runtime:
        handle, approval = ask(runtime)
    with fs.Client(store=url) as client:
        client.approvals.reject(approval.id, by="ann")
        assert client.runs.get(handle.run_id).status == "queued"
    with fs.Runtime(shop.pipeline, store=url) as runtime:
        runtime.drain(timeout=20)
        assert runtime.runs.get(handle.run_id).status == "failed"
        assert statuses(runtime, handle.run_id)["mail"] == "skipped"


def test_cancelling_a_waiting_run_withdraws_what_it_asks(start: Make) -> None:
    runtime = start(Shop().pipeline)
    handle, approval = ask(runtime)
    assert handle.cancel()
    withdrawn = runtime.approvals.get(approval.id)
    assert (handle.status, withdrawn.status) == ("cancelled", "withdrawn")
    assert runtime.approvals.list_pending() == []
    with pytest.raises(fs.StaleState, match="was withdrawn by"):
        runtime.approvals.approve(approval.id)
    assert set(statuses(runtime, handle.run_id).values()) == {"success", "cancelled"}


def test_a_waiting_run_holds_no_slot_and_no_partition(start: Make) -> None:
    runtime = start(Shop().pipeline, max_concurrency=1)
    first, _ = ask(runtime)
    assert runtime.materialize("aside").status == "success"
    second = runtime.materialize_async("+report")
    runtime.drain(timeout=20)
    assert (first.status, second.status) == ("waiting_approval", "waiting_approval")
    for approval in runtime.approvals.list_pending():
        runtime.approvals.approve(approval.id, by="ann")
    assert first.result(timeout=20).status == second.result(timeout=20).status == "success"


def test_what_was_approved_is_made_whatever_others_made_meanwhile(start: Make) -> None:
    runtime = start(Shop().pipeline)
    first, earlier = ask(runtime)
    second = runtime.materialize_async("*")
    runtime.drain(timeout=20)
    later = runtime.approvals.list_pending()[1]
    runtime.approvals.approve(later.id, by="bob")
    assert second.result(timeout=20).status == "success"
    runtime.approvals.approve(earlier.id, by="ann")
    assert first.result(timeout=20).status == "success"
    assert statuses(runtime, first.run_id)["mail"] == "success"
    assert runtime.get("mail") == "mail of (3, 'approved', 'ann', None)"


def test_a_materialize_waits_on_and_a_short_wait_says_for_what(start: Make) -> None:
    runtime = start(Shop().pipeline)
    made: list[Any] = []
    asked = threading.Event()
    runtime.pubsub.subscribe("approvals", lambda message: asked.set())
    waiting = threading.Thread(target=lambda: made.append(runtime.materialize("*")))
    waiting.start()
    assert asked.wait(20)
    [approval] = runtime.approvals.list_pending()
    handle = runtime.materialize_async("+report")
    runtime.drain(timeout=20)
    with pytest.raises(fs.TimeoutExceeded, match="waits for people to decide: approval_.* .a large day."):
        handle.result(timeout=0.01)
    runtime.approvals.approve(approval.id, by="ann")
    waiting.join(20)
    assert made[0].status == "success"


def test_a_run_that_waits_stands_in_the_way_of_its_schedule(start: Make, flowstone_clock: ManualClock) -> None:
    shop = Shop(timeout=None)
    shop.pipeline.schedule("hourly", cron="0 * * * *", target="+report")
    runtime = start(shop.pipeline)
    flowstone_clock.advance("2h")
    runtime.drain(timeout=20)
    second, first = runtime.schedules.history("hourly")
    assert (first.status, second.status, second.blocked_by) == ("triggered", "suppressed", first.run_id)
    assert runtime.runs.get(first.run_id).status == "waiting_approval"


def test_an_asset_may_ask_more_than_once_but_not_the_same(start: Make) -> None:
    pipeline = fs.Pipeline("shop")

    @pipeline.asset
    def twice(context: fs.Context) -> Any:
        decision = context.approval
        if decision is None or decision.payload == 1:
            return fs.WaitForApproval("first?" if decision is None else "second?")
        return decision.payload

    pipeline.asset(lambda context: fs.WaitForApproval("again?"), name="stubborn")
    runtime = start(pipeline)
    handle = runtime.materialize_async("twice")
    for payload, message in ((1, "first?"), (2, "second?")):
        runtime.drain(timeout=20)
        [approval] = runtime.approvals.list_pending()
        assert approval.message == message
        runtime.approvals.modify(approval.id, payload=payload)
    assert handle.result(timeout=20).value == 2
    handle, approval = ask(runtime, "stubborn")
    runtime.approvals.approve(approval.id)
    with pytest.raises(fs.ExecutionError, match="context.approval .* got: the same question again"):
        handle.result(timeout=20)


def test_a_decision_outlasts_a_failed_attempt(start: Make, flowstone_clock: ManualClock) -> None:
    pipeline = fs.Pipeline("shop")

    @pipeline.asset(retry=fs.RetryPolicy(max_attempts=2, base=1))
    def flaky(context: fs.Context) -> Any:
        if context.approval is None:
            return fs.WaitForApproval("ok?")
        if context.attempt == 1:
            raise ValueError("not yet")
        return context.approval.by

    runtime = start(pipeline)
    handle, approval = ask(runtime, "flaky")
    runtime.approvals.approve(approval.id, by="ann")
    runtime.drain(timeout=20)
    flowstone_clock.advance("2s")
    assert handle.result(timeout=20).value == "ann"


def test_a_run_that_waits_for_a_retry_too_is_tried_again_meanwhile(start: Make, flowstone_clock: ManualClock) -> None:
    shop, attempts = Shop(timeout=None), []

    @shop.pipeline.asset(retry=fs.RetryPolicy(max_attempts=2, base=10))
    def flaky(context: fs.Context) -> int:
        attempts.append(context.attempt)
        if context.attempt == 1:
            raise ValueError("not yet")
        return 1

    runtime = start(shop.pipeline)
    handle = runtime.materialize_async("*")
    runtime.drain(timeout=20)
    assert handle.status == "queued"
    flowstone_clock.advance("20s")
    assert (handle.status, attempts) == ("waiting_approval", [1, 2])
    runtime.approvals.approve(runtime.approvals.list_pending()[0].id)
    assert handle.result(timeout=20).status == "success"


def test_each_step_is_audited_and_told_to_telemetry_and_topic(start: Make, flowstone_clock: ManualClock) -> None:
    runtime = start(Shop(on_timeout="escalate").pipeline)
    events: list[tuple[str, Any]] = []
    topic: list[Any] = []
    runtime.telemetry.attach("flowstone.approval.", lambda name, measured, about: events.append((name, about["by"])))
    runtime.pubsub.subscribe("approvals", topic.append)
    _, approval = ask(runtime)
    flowstone_clock.advance("1h")
    runtime.approvals.modify(approval.id, payload=1, by="ann", reason="fine")
    runtime.drain(timeout=20)
    flowstone_clock.advance(1)
    steps = ["requested", "escalated", "modified"]
    assert events == list(zip((f"flowstone.approval.{step}" for step in steps), [None, None, "ann"], strict=True))
    assert topic == [(f"approval_{step}", approval.id, "report", None) for step in steps]
    rows = runtime.audit.list(resource=f"approval:{approval.id}")
    assert [(row.event_type, row.actor) for row in rows] == [
        ("approval.modified", "ann"),
        ("approval.escalated", "timeout"),
        ("approval.requested", "runtime"),
    ]


@pytest.mark.parametrize("wrong", [{"by": ""}, {"by": 5}, {"reason": 5}])
def test_a_decision_that_makes_no_sense_changes_nothing(flowstone_runtime: Make, wrong: dict[str, Any]) -> None:
    runtime = flowstone_runtime(Shop().pipeline)
    _, approval = ask(runtime)
    with pytest.raises(fs.ValidationError, match="expected"):
        runtime.approvals.approve(approval.id, **wrong)
    with pytest.raises(fs.ValidationError, match="JSON"):
        runtime.approvals.modify(approval.id, payload={1, 2})
    with pytest.raises(fs.ApprovalNotFound, match="approval 'nope' not found"):
        runtime.approvals.get("nope")
    with pytest.raises(fs.ApprovalNotFound, match="approval 'nope' not found"):
        runtime.approvals.approve("nope")
    assert isinstance(runtime.approvals, Approvals)
    assert runtime.approvals.get(approval.id) == approval
