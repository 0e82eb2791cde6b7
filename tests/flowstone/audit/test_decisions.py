"""Every decision about schedules, sensors and runs leaves an audit row that names who decided, and what changed."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest
from flowstone.audit.store import AuditRow
from flowstone.testing import ScriptedSensor


@pytest.fixture
def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: 1, name="report")
    made.sensor("orders", ScriptedSensor({"seen": 0}), target="report")
    made.schedule("nightly", cron="0 2 * * *", target="report")
    return made


@pytest.fixture
def runtime(shop: fs.Pipeline, flowstone_runtime: Callable[..., fs.Runtime]) -> fs.Runtime:
    return flowstone_runtime(shop)


def rewound(runtime: fs.Runtime, by: str | None) -> Any:
    evaluation = runtime.sensors.poll("orders", timeout=20)
    return runtime.sensors.rewind("orders", to=evaluation.eval_id, by=by)


def retried(runtime: fs.Runtime, by: str | None) -> Any:
    told = ScriptedSensor()
    told.set_next(fs.Trigger("a"))
    runtime.sensors.add("told", told, on_trigger=lambda event: 1 / 0)
    runtime.sensors.poll("told", timeout=20)
    runtime.drain(timeout=20)
    return runtime.sensors.retry_delivery(runtime.sensors.deliveries("told")[0].id, by=by)


DECISIONS: list[tuple[str, str, Callable[[fs.Runtime, str | None], Any]]] = [
    ("schedule.created", "schedule:late", lambda r, by: r.schedules.create("late", every="1h", target="report", by=by)),
    ("schedule.updated", "schedule:nightly", lambda r, by: r.schedules.update("nightly", cron="0 3 * * *", by=by)),
    ("schedule.paused", "schedule:nightly", lambda r, by: r.schedules.pause("nightly", by=by)),
    ("schedule.triggered", "schedule:nightly", lambda r, by: r.schedules.trigger("nightly", by=by)),
    ("schedule.deleted", "schedule:nightly", lambda r, by: r.schedules.delete("nightly", by=by)),
    ("sensor.polled", "sensor:orders", lambda r, by: r.sensors.poll("orders", timeout=20, by=by)),
    ("sensor.paused", "sensor:orders", lambda r, by: r.sensors.pause("orders", reason="broken feed", by=by)),
    ("sensor.resumed", "sensor:orders", lambda r, by: r.sensors.resume("orders", by=by)),
    ("sensor.reset", "sensor:orders", lambda r, by: r.sensors.reset("orders", {"seen": 7}, by=by)),
    ("sensor.rewound", "sensor:orders", rewound),
    ("sensor.created", "sensor:new", lambda r, by: r.sensors.add("new", ScriptedSensor(), target="report", by=by)),
    ("sensor.removed", "sensor:orders", lambda r, by: r.sensors.remove("orders", by=by)),
    ("sensor.delivery_retried", "sensor:told", retried),
]


@pytest.mark.parametrize("by", ["ada", None])
@pytest.mark.parametrize(("event", "resource", "decide"), DECISIONS, ids=[event for event, _, _ in DECISIONS])
def test_a_decision_names_who_decided_else_the_user(
    runtime: fs.Runtime, event: str, resource: str, decide: Callable[[fs.Runtime, str | None], Any], by: str | None
) -> None:
    decide(runtime, by)
    [row] = runtime.audit.list(event_type=event, actor=by or getpass.getuser())
    assert row.resource == resource


def last(runtime: fs.Runtime, event: str) -> AuditRow:
    return runtime.audit.list(event_type=event)[0]


def test_resuming_a_schedule_is_a_decision_of_its_own(runtime: fs.Runtime) -> None:
    runtime.schedules.pause("nightly")
    runtime.schedules.resume("nightly", by="ada")
    row = last(runtime, "schedule.resumed")
    assert (row.actor, row.details) == ("ada", {"version": 3, "enabled": True})


def test_a_change_of_a_cursor_tells_the_one_before_and_the_one_after(runtime: fs.Runtime) -> None:
    runtime.drain(timeout=20)
    runtime.sensors.reset("orders", {"seen": 7})
    details = last(runtime, "sensor.reset").details
    assert (details["before"]["state"], details["cursor"]["state"]) == ({"seen": 0}, {"seen": 7})
    evaluation = runtime.sensors.poll("orders", timeout=20)
    runtime.sensors.reset("orders", {"seen": 9})
    runtime.sensors.rewind("orders", to=evaluation.eval_id)
    details = last(runtime, "sensor.rewound").details
    assert (details["before"]["state"], details["cursor"]["state"]) == ({"seen": 9}, {"seen": 7})
    assert details["to"] == evaluation.eval_id


def test_definitions_that_change_leave_and_return_are_told_of_with_what_differs(
    flowstone_runtime: Callable[..., fs.Runtime], tmp_path: Any
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"

    def start(every: str | None) -> list[tuple[str, Any]]:
        made = fs.Pipeline("shop")
        made.asset(lambda context: 1, name="report")
        if every is not None:
            made.sensor("orders", ScriptedSensor(), every=every, target="report")
            made.schedule("nightly", every=every, target="report")
        runtime = flowstone_runtime(made, store=url)
        rows = runtime.audit.list(actor="code", limit=2 if every else 100)
        runtime.stop()
        return sorted((row.event_type, row.details) for row in rows)

    [created, told] = start("1h")
    assert (created[0], told[0]) == ("schedule.created", "sensor.created")
    assert (told[1]["interval"], told[1]["dedupe"]) == (3600.0, "forever")
    assert start("2h") == [
        ("schedule.defined", {"version": 2, "every": 7200}),
        ("sensor.changed", {"version": 2, "interval": 7200.0}),
    ]
    assert {event for event, _ in start(None)} >= {"schedule.orphaned", "sensor.orphaned"}
    assert [event for event, _ in start("2h")] == ["schedule.defined", "sensor.returned"]


def test_a_cancelled_run_tells_who_cancelled_it_and_why(flowstone_runtime: Callable[..., fs.Runtime]) -> None:
    shop, begun, release = fs.Pipeline("shop"), threading.Event(), threading.Event()
    shop.asset(lambda context: (begun.set(), release.wait()), name="slow")
    shop.schedule("nightly", cron="0 2 * * *", target="slow", overlap="cancel_previous")
    runtime = flowstone_runtime(shop)
    run_id = runtime.materialize_async("slow").run_id
    assert begun.wait(20)
    assert runtime.runs.cancel(run_id, reason="wrong day", by="ada")
    row = last(runtime, "run.cancelled")
    assert (row.actor, row.resource, row.details) == ("ada", f"run:{run_id}", {"reason": "wrong day"})
    assert not runtime.runs.cancel(run_id, by="ada")
    assert len(runtime.audit.list(event_type="run.cancelled")) == 1
    release.set()


def test_a_run_that_an_overlap_policy_cancels_was_cancelled_by_its_schedule(
    flowstone_runtime: Callable[..., fs.Runtime], flowstone_clock: Any
) -> None:
    shop, release = fs.Pipeline("shop"), threading.Event()
    shop.asset(lambda context: release.wait(), name="slow")
    shop.schedule("hourly", cron="0 * * * *", target="slow", overlap="cancel_previous")
    runtime = flowstone_runtime(shop)
    flowstone_clock.advance("2h")
    row = last(runtime, "run.cancelled")
    assert (row.actor, row.details) == ("schedule:hourly", {"reason": "overlapped by hourly:1736949600"})
    release.set()
