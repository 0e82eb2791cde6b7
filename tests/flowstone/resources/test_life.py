"""The life of resources in a runtime: set up in order, looked after, torn down in reverse."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock, crash
from flowstone.resources import keeper
from flowstone.resources.keeper import BASE, CAP, HEALTH_EVERY

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
WAIT = 20.0


def shop(*names: str, **options: Any) -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: [context.resources[name] for name in names], name="uses", requires=names, **options)
    return made


def row(runtime: fs.Runtime, name: str = "thing") -> tuple[str, str | None]:
    found = next(row for row in runtime.resources.health() if row.name == name)
    return str(found.status), found.reason


def test_resources_are_set_up_in_order_and_torn_down_in_reverse(start: Any, thing: Any) -> None:
    told: list[str] = []
    runtime = start(resources={name: thing(name, told) for name in ("b", "a", "c")})
    assert [runtime.resources.get(name)[0] for name in ("b", "a", "c")] == ["b", "a", "c"]
    assert [(row.name, row.status) for row in runtime.resources.health()] == [("b", "up"), ("a", "up"), ("c", "up")]
    runtime.stop()
    assert told == ["setup b", "setup a", "setup c", "teardown c", "teardown a", "teardown b"]
    assert row(runtime, "a") == ("down", "the runtime was stopped")


def test_a_start_does_not_wait_for_a_resource_but_an_asset_does(start: Any, thing: Any) -> None:
    slow = thing()
    slow.gate = threading.Event()
    runtime = start(shop("thing"), resources={"thing": slow})
    assert row(runtime) == ("down", "it is being set up")
    handle = runtime.materialize_async("uses")
    slow.gate.set()
    assert handle.result(WAIT).value == [["thing", None]]


def test_an_asset_gets_the_handles_that_it_requires_and_no_others(start: Any, thing: Any) -> None:
    pipeline = fs.Pipeline("shop")
    seen: dict[str, Any] = {}

    @pipeline.asset(requires=["mail", "rows"])
    def uses(context: Any) -> None:
        seen.update(mail=context.resources.mail, rows=context.resources["rows"], names=list(context.resources))
        seen.update(has=hasattr(context.resources, "thing"), known="mail" in context.resources)
        context.resources.mial

    runtime = start(pipeline, resources={"mail": thing("mail"), "rows": 7, "thing": thing()})
    with pytest.raises(fs.ExecutionError, match="'uses' requires no resource 'mial'.*did you mean 'mail'"):
        runtime.materialize("uses")
    assert seen == {"mail": ["mail", None], "rows": 7, "names": ["mail", "rows"], "has": False, "known": True}


def test_one_that_fails_to_start_stops_no_other_and_fails_who_requires_it(start: Any, thing: Any) -> None:
    ill = thing("ill")
    ill.sick["setup"] = ValueError("no route")
    pipeline = shop("ill", retry=fs.RetryPolicy(max_attempts=1))
    pipeline.asset(lambda context: context.resources.well, name="other", requires=["well"])
    runtime = start(pipeline, resources={"ill": ill, "well": thing("well")})
    assert runtime.materialize("other").value == ["well", None]
    message = "resource 'ill' is down: setup raised ValueError: no route"
    with pytest.raises(fs.ResourceUnavailable, match=message) as down:
        runtime.materialize("uses")
    assert down.value.retryable
    with pytest.raises(fs.ResourceUnavailable, match="no route"):
        runtime.resources.get("ill")
    assert "resource ill is degraded: down: setup raised ValueError: no route" in str(runtime.health())


def test_one_that_failed_is_set_up_again_later_each_time(start: Any, thing: Any) -> None:
    clock, ill = ManualClock(NOON), thing()
    ill.sick["setup"] = ValueError("no route")
    runtime = start(resources={"thing": ill}, clock=clock)
    clock.advance(0)
    found = []
    for delay in (BASE, 2 * BASE, 4 * BASE):
        clock.advance(delay - 0.1)
        found.append(len(ill.told))
        clock.advance(0.1)
        found.append(len(ill.told))
    assert found == [1, 2, 2, 3, 3, 4]
    ill.sick.clear()
    clock.advance(8 * BASE)
    assert row(runtime) == ("up", None)


@pytest.mark.parametrize(
    ("illness", "reason"),
    [(False, "its health check said no"), (OSError("gone"), "health_check raised OSError: gone")],
    ids=["no", "raises"],
)
def test_an_ill_one_is_torn_down_and_set_up_again(start: Any, thing: Any, illness: Any, reason: str) -> None:
    clock, one = ManualClock(NOON), thing()
    runtime = start(resources={"thing": one}, clock=clock)
    first = runtime.resources.get("thing")
    one.sick["health_check"] = illness
    clock.advance(HEALTH_EVERY)
    assert row(runtime) == ("down", reason)
    one.sick.clear()
    clock.advance(BASE)
    assert row(runtime) == ("up", None)
    assert runtime.resources.get("thing") is not first
    assert one.told == ["setup thing", "health_check thing", "teardown thing", "setup thing"]


def test_a_well_one_is_checked_and_left_alone(start: Any, thing: Any) -> None:
    clock, one = ManualClock(NOON), thing()
    runtime = start(resources={"thing": one}, clock=clock)
    clock.advance(3 * HEALTH_EVERY)
    assert one.told == ["setup thing", *["health_check thing"] * 3]
    assert row(runtime) == ("up", None)


def test_a_setup_that_hangs_is_given_up_and_torn_down_when_it_comes_back(start: Any, thing: Any) -> None:
    clock, one, other = ManualClock(NOON), thing(), thing("other")
    one.gate, one.call_timeout = threading.Event(), 5.0
    runtime = start(resources={"thing": one, "other": other}, clock=clock)
    assert one.reached.wait(WAIT)
    gate, one.gate = one.gate, None
    clock.advance(5 + BASE)
    assert row(runtime) == ("up", None)
    assert runtime.resources.get("other") == ["other", None]
    assert one.told == ["setup thing", "setup thing"]
    gate.set()
    runtime.drain(WAIT)
    runtime.stop()
    assert one.told.count("teardown thing") == 2


def test_one_whose_calls_hang_for_ever_takes_up_few_threads_and_goes_on_when_they_end(
    start: Any, thing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "MOST", 2)
    clock, one = ManualClock(NOON, stall=0.05), thing()
    one.gate, one.call_timeout = threading.Event(), 5.0
    runtime = start(resources={"thing": one}, clock=clock)
    assert one.reached.wait(WAIT)
    clock.advance(4 * CAP)
    assert one.told == ["setup thing"] * 2
    assert row(runtime) == ("down", "2 calls of it were given up and still go on: its methods need timeouts")
    assert runtime.health().status == "degraded"
    gate, one.gate = one.gate, None
    gate.set()
    for _ in range(400):
        if not runtime._services.polls.abandoned():
            break
        select.select([], [], [], 0.05)
    clock.advance(CAP)
    assert row(runtime) == ("up", None)


def test_a_keeper_that_crashes_sets_nothing_up_again(start: Any, thing: Any) -> None:
    one = thing()
    runtime = start(resources={"thing": one})
    handle = runtime.resources.get("thing")
    crash(runtime.actor("services", "resources", "thing"))
    assert runtime.resources.get("thing") is handle
    runtime.drain(WAIT)
    assert one.told == ["setup thing"]


def test_one_whose_keeper_crashes_too_often_is_shown_and_tried_again_later(start: Any, thing: Any) -> None:
    clock = ManualClock(NOON)
    runtime = start(resources={"thing": thing(), "other": thing("other")}, clock=clock)
    handle = runtime.resources.get("thing")
    for _ in range(4):
        crash(runtime.actor("services", "resources", "thing"))
    clock.advance(0)
    assert row(runtime) == ("up", "its actor crashed too often, and nobody looks after it")
    assert "resource thing is degraded" in str(runtime.health())
    assert row(runtime, "other") == ("up", None)
    assert runtime.resources.get("thing") is handle
    clock.advance(CAP)
    assert row(runtime) == ("up", None)
    assert str(runtime.health()) == "ok"


def test_the_tree_shows_a_keeper_for_each_resource(start: Any, thing: Any) -> None:
    runtime = start(resources={"thing": thing(), "plain": 5})
    runtime.resources.get("thing")
    assert "resources" in str(runtime.tree())
    services = next(row for row in runtime.tree().children if row.name == "services")
    resources = next(row for row in services.children if row.name == "resources")
    assert [row.name for row in resources.children] == ["thing"]
    assert "resources" not in str(start().tree())


def test_telemetry_tells_of_up_and_down(start: Any, thing: Any) -> None:
    clock, one = ManualClock(NOON), thing()
    heard: list[tuple[str, Any]] = []
    runtime = fs.Runtime(store="memory://", resources={"thing": one}, clock=clock)
    runtime.telemetry.attach("flowstone.resource", lambda event, _, about: heard.append((event, about["reason"])))
    with runtime:
        runtime.resources.get("thing")
        one.sick["health_check"] = False
        clock.advance(HEALTH_EVERY)
    assert heard == [("flowstone.resource.up", None), ("flowstone.resource.down", "its health check said no")]


def test_async_resources_are_awaited(start: Any) -> None:
    class Later(fs.Resource):
        async def setup(self) -> int:
            return 7

    assert start(resources={"later": Later()}).resources.get("later") == 7


def test_a_runtime_that_starts_again_sets_up_again(start: Any, thing: Any) -> None:
    one = thing()
    runtime = start(resources={"thing": one})
    runtime.resources.get("thing")
    runtime.stop()
    runtime.start()
    assert runtime.resources.get("thing") == ["thing", None]
    assert one.told == ["setup thing", "teardown thing", "setup thing"]


def test_a_teardown_that_fails_stops_no_other(start: Any, thing: Any, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    ill = thing("ill", told)
    ill.sick["teardown"] = ValueError("stuck")
    runtime = start(resources={"well": thing("well", told), "ill": ill})
    runtime.resources.get("ill")
    runtime.stop()
    assert told[-2:] == ["teardown ill", "teardown well"]
    assert "resource ill was not torn down: teardown raised ValueError: stuck" in caplog.text


def test_an_unknown_name_is_refused_at_the_start_with_the_nearest(start: Callable[..., fs.Runtime]) -> None:
    message = "requires 'warehose', which is no resource; did you mean 'warehouse'"
    with pytest.raises(fs.ValidationError, match=message) as caught:
        start(shop("warehose"), resources={"warehouse": 5})
    assert [problem.type for problem in caught.value.problems] == ["validation_error"]
    with pytest.raises(fs.ValidationError, match="no resource 'warehose'; did you mean 'warehouse'"):
        start(resources={"warehouse": 5}).resources.get("warehose")


def test_a_pipeline_brings_resources_and_a_runtime_replaces_them_by_name(start: Any) -> None:
    pipeline = fs.Pipeline("shop", resources={"region": "eu", "limit": 5})
    names = ["limit", "region"]
    pipeline.asset(lambda context: [context.resources[name] for name in names], name="uses", requires=names)
    assert start(pipeline, resources={"limit": 6}).materialize("uses").value == [6, "eu"]


def test_a_check_of_a_pipeline_that_brings_resources_reports_unknown_ones_with_the_rest() -> None:
    pipeline = fs.Pipeline("shop", resources={"warehouse": 5})
    pipeline.asset(lambda context, raw: raw, name="uses", requires=["warehose"])
    with pytest.raises(fs.ValidationError) as caught:
        pipeline.check()
    assert [problem.type for problem in caught.value.problems] == ["asset_not_found", "validation_error"]
    unknown = fs.Pipeline("other")
    unknown.asset(lambda context: 1, name="uses", requires=["given_by_a_runtime"])
    unknown.check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"two words": 5}, "resource name"),
        ({"thing": fs.Resource}, "expected resource 'thing' to be made"),
        (["thing"], "mapping of names to resources"),
    ],
)
def test_what_is_no_resource_is_refused_where_it_is_given(given: Any, message: str) -> None:
    with pytest.raises(fs.ValidationError, match=message):
        fs.Runtime(resources=given)


class Unspoken(Exception):
    """An error that fails when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_without_words_is_a_reason_all_the_same(start: Any, thing: Any) -> None:
    one = thing()
    one.sick["setup"] = Unspoken()
    runtime = start(fs.Pipeline("shop"), resources={"thing": one})
    with pytest.raises(fs.ResourceUnavailable, match=r"setup raised Unspoken: Unspoken\(\)"):
        runtime.resources.get("thing")
    assert [row.broken for row in runtime.resources.health()] == [False]


def test_a_time_for_calls_is_any_duration_and_anything_else_is_refused_where_it_is_given(
    start: Any, thing: Any
) -> None:
    one = thing()
    one.call_timeout = "10s"
    assert start(fs.Pipeline("shop"), resources={"thing": one}).resources.get("thing") == ["thing", None]
    for wrong in (None, 0, "soon"):
        one.call_timeout = wrong
        with pytest.raises(fs.ValidationError, match="expected call_timeout of resource 'thing' to be"):
            fs.Runtime(fs.Pipeline("shop"), store="memory://", resources={"thing": one})
