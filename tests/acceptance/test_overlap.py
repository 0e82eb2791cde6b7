"""What becomes of a tick while an earlier run of its schedule is unfinished, here waiting for people to decide."""

from __future__ import annotations

from collections.abc import Callable

import flowstone as fs
import pytest
from actors.testing import ManualClock

Start = Callable[..., fs.Runtime]
TRIGGERED, SUPPRESSED = ("triggered", None), "suppressed"


@pytest.fixture(params=["greenlets", "threads"])
def start(request: pytest.FixtureRequest, flowstone_runtime: Start, flowstone_clock: ManualClock) -> Start:
    """A runtime whose schedule has fired three times; each of its runs waits for approval when its turn comes."""

    def make(overlap: str) -> fs.Runtime:
        shop = fs.Pipeline("shop")
        shop.asset(lambda context: 1 if context.approval else fs.WaitForApproval("good?"), name="report")
        shop.schedule("minutes", every="1m", target="report", overlap=overlap, partition=lambda at: at.minute)
        runtime = flowstone_runtime(shop, backend=request.param)
        for _ in range(3):
            flowstone_clock.advance("1m")
        return runtime

    return make


def ticks(runtime: fs.Runtime) -> list[tuple[str, str | None]]:
    """The ticks, oldest first, each with the run that stood in its way."""
    return [(str(tick.status), tick.blocked_by) for tick in reversed(runtime.schedules.history("minutes"))]


def runs(runtime: fs.Runtime) -> list[str]:
    """The statuses of the runs, oldest first."""
    return [str(run.status) for run in reversed(runtime.runs.list())]


def approve(runtime: fs.Runtime) -> None:
    (asked, *_) = runtime.approvals.list_pending()
    runtime.approvals.approve(asked.id, by="ada")
    runtime.drain(timeout=20)


def test_skip_suppresses_all_that_come_meanwhile(start: Start, flowstone_clock: ManualClock) -> None:
    runtime = start("skip")
    (first,) = runtime.runs.list()
    assert ticks(runtime) == [TRIGGERED, (SUPPRESSED, first.run_id), (SUPPRESSED, first.run_id)]
    assert runs(runtime) == ["waiting_approval"]
    approve(runtime)
    flowstone_clock.advance("1m")
    assert ticks(runtime)[-1] == TRIGGERED


def test_queue_one_keeps_the_one_that_waits(start: Start) -> None:
    runtime = start("queue_one")
    waiting, _first = runtime.runs.list()
    assert ticks(runtime) == [TRIGGERED, TRIGGERED, (SUPPRESSED, waiting.run_id)]
    assert runs(runtime) == ["waiting_approval", "queued"]
    approve(runtime)
    assert runs(runtime) == ["success", "waiting_approval"]


def test_queue_all_runs_one_after_another(start: Start) -> None:
    runtime = start("queue_all")
    assert ticks(runtime) == [TRIGGERED] * 3
    assert runs(runtime) == ["waiting_approval", "queued", "queued"]
    approve(runtime)
    assert runs(runtime) == ["success", "waiting_approval", "queued"]
    approve(runtime)
    approve(runtime)
    assert runs(runtime) == ["success"] * 3


def test_cancel_previous_withdraws_what_was_asked(start: Start) -> None:
    runtime = start("cancel_previous")
    assert ticks(runtime) == [TRIGGERED] * 3
    assert runs(runtime) == ["cancelled", "cancelled", "waiting_approval"]
    assert len(runtime.approvals.list_pending()) == 1


def test_allow_runs_them_beside_each_other(start: Start) -> None:
    runtime = start("allow")
    assert ticks(runtime) == [TRIGGERED] * 3
    assert runs(runtime) == ["waiting_approval"] * 3


@pytest.mark.parametrize("overlap", ["skip", "queue_one"])
def test_a_suppressed_tick_says_why_in_one_sentence(start: Start, overlap: str) -> None:
    runtime = start(overlap)
    newest = runtime.schedules.history("minutes")[0]
    sentence = str(runtime.why(newest.tick_id))
    assert sentence == str(runtime.why(newest))
    assert f"was suppressed: run {newest.blocked_by} of schedule minutes" in sentence
