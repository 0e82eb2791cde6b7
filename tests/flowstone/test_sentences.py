"""What `why` says of approvals, and of schedules and sensors by their names."""

from __future__ import annotations

from collections.abc import Callable

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.core.approval import OnTimeout
from flowstone.testing import ScriptedSensor


@pytest.fixture
def runtime(flowstone_runtime: Callable[..., fs.Runtime]) -> fs.Runtime:
    """A runtime whose asset asks people, for ever or until the deadline that its partition names."""
    shop = fs.Pipeline("shop")

    @shop.asset
    def report(context: fs.Context) -> object:
        if context.approval is not None:
            return "done"
        limit = None if context.partition is None else "1d"
        return fs.WaitForApproval("unusually large.", timeout=limit, on_timeout=str(context.partition or "expire"))

    shop.schedule("nightly", cron="0 2 * * *", target="report")
    shop.sensor("feed", ScriptedSensor(), every="30s", target="report")
    return flowstone_runtime(shop)


def asked(runtime: fs.Runtime, on_timeout: str | None = None) -> str:
    runtime.materialize_async("report", on_timeout, force=True)
    runtime.drain(timeout=20)
    return runtime.approvals.list_pending()[-1].id


def test_an_approval_says_what_it_waits_for(runtime: fs.Runtime) -> None:
    identifier = asked(runtime)
    answer = runtime.why(identifier)
    assert (answer.kind, answer.id, answer.status, answer.reason) == ("approval", identifier, "pending", None)
    assert answer.item == runtime.approvals.get(identifier)
    told = f"Approval {identifier} of report in run {runtime.runs.list()[0].run_id} waits for people to decide, since"
    assert str(answer) == f"{told} 2025-01-15 12:00:00 UTC: unusually large."
    assert str(runtime.why(runtime.approvals.get(identifier))) == str(answer)


@pytest.mark.parametrize(
    ("on_timeout", "said"),
    [
        (OnTimeout.EXPIRE, "it expires at"),
        (OnTimeout.APPROVE, "it is approved at"),
        (OnTimeout.REJECT, "it is rejected at"),
        (OnTimeout.ESCALATE, "it goes on to others, with another deadline at"),
    ],
)
def test_an_approval_says_what_its_deadline_does(runtime: fs.Runtime, on_timeout: OnTimeout, said: str) -> None:
    assert str(runtime.why(asked(runtime, on_timeout.value))).endswith(f"; {said} 2025-01-16 12:00:00 UTC.")


def test_a_decided_approval_says_by_whom_when_and_why(runtime: fs.Runtime) -> None:
    identifier = asked(runtime)
    runtime.approvals.reject(identifier, by="ada", reason="not today")
    assert str(runtime.why(identifier)).endswith("was rejected by ada at 2025-01-15 12:00:00 UTC: not today.")
    identifier = asked(runtime)
    runtime.approvals.approve(identifier, by="ada")
    assert str(runtime.why(identifier)).endswith("was approved by ada at 2025-01-15 12:00:00 UTC.")
    identifier = asked(runtime)
    runtime.approvals.modify(identifier, payload=1, by="ada")
    assert "was approved with something to heed by ada at" in str(runtime.why(identifier))


def test_an_approval_that_nobody_decided_says_so(runtime: fs.Runtime, flowstone_clock: ManualClock) -> None:
    identifier = asked(runtime, "expire")
    flowstone_clock.advance("25h")
    assert "expired at 2025-01-16 12:00:00 UTC: nobody decided until" in str(runtime.why(identifier))
    identifier = asked(runtime)
    runtime.runs.cancel(runtime.approvals.get(identifier).run_id)
    assert "since its run was cancelled" in str(runtime.why(identifier))


def test_the_name_of_a_schedule_or_sensor_stands_for_what_it_did_last(
    runtime: fs.Runtime, flowstone_clock: ManualClock
) -> None:
    for name in ("nightly", "feed"):
        with pytest.raises(fs.ValidationError, match="of a schedule with a tick or of a sensor with an evaluation"):
            runtime.why(name)
    runtime.sensors.poll("feed")
    flowstone_clock.advance("1d")
    (tick,) = runtime.schedules.history("nightly")
    assert runtime.why("nightly") == runtime.why(tick)
    assert runtime.why("feed") == runtime.why(runtime.sensors.history("feed")[0])
    assert runtime.why("report").kind == "asset"
