"""The plan of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flowstone.core.run import FINISHED_MATERIALIZATIONS, MaterializationStatus, RunStatus
from flowstone.runs.plan import AssetState, plan
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2025, 1, 15, 2, tzinfo=UTC)
PENDING = AssetState(MaterializationStatus.PENDING)
RUNNING = AssetState(MaterializationStatus.RUNNING)
SUCCESS = AssetState(MaterializationStatus.SUCCESS)
FAILED = AssetState(MaterializationStatus.FAILED)
DIAMOND = {"a": (), "left": ("a",), "right": ("a",), "end": ("left", "right")}


def test_independent_branches_start_at_the_same_time() -> None:
    states = {"a": SUCCESS, "left": PENDING, "right": PENDING, "end": PENDING}
    assert plan(DIAMOND, states, NOW).start == ("left", "right")


def test_an_asset_waits_for_all_of_its_dependencies() -> None:
    states = {"a": SUCCESS, "left": SUCCESS, "right": RUNNING, "end": PENDING}
    assert plan(DIAMOND, states, NOW).start == ()


def test_what_depends_on_a_failure_is_skipped_and_the_rest_goes_on() -> None:
    states = {"a": SUCCESS, "left": FAILED, "right": PENDING, "end": PENDING}
    decided = plan(DIAMOND, states, NOW)
    assert decided.start == ("right",)
    assert decided.skip == (("end", "left"),)


def test_a_run_is_finished_when_all_of_its_assets_are() -> None:
    assert plan(DIAMOND, dict.fromkeys(DIAMOND, SUCCESS), NOW).finished is RunStatus.SUCCESS
    assert plan({"a": ()}, {"a": FAILED}, NOW).finished is RunStatus.FAILED
    assert plan({"a": ()}, {"a": AssetState(MaterializationStatus.CANCELLED)}, NOW).finished is RunStatus.CANCELLED
    assert plan({"a": ()}, {"a": AssetState(MaterializationStatus.SKIPPED)}, NOW).finished is RunStatus.SUCCESS


def test_a_failure_at_the_root_finishes_the_run_at_once() -> None:
    decided = plan(DIAMOND, {"a": FAILED, "left": PENDING, "right": PENDING, "end": PENDING}, NOW)
    assert [asset for asset, _ in decided.skip] == ["left", "right", "end"]
    assert decided.finished is RunStatus.FAILED


def test_a_repeated_attempt_waits_for_its_instant() -> None:
    later = AssetState(MaterializationStatus.PENDING, ready_at=NOW + timedelta(seconds=10))
    assert plan({"a": ()}, {"a": later}, NOW).wait_until == NOW + timedelta(seconds=10)
    assert plan({"a": ()}, {"a": later}, NOW).start == ()
    assert plan({"a": ()}, {"a": later}, NOW + timedelta(seconds=10)).start == ("a",)


def test_already_materialized_gives_a_value_to_those_that_depend_on_it() -> None:
    made = AssetState(MaterializationStatus.SKIPPED, satisfied=True)
    assert plan({"a": (), "b": ("a",)}, {"a": made, "b": PENDING}, NOW).start == ("b",)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    names = [f"a{number}" for number in range(draw(st.integers(1, 7)))]
    return {
        name: tuple(draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else ())
        for place, name in enumerate(names)
    }


@pytest.mark.property
@given(graphs(), st.data())
def test_every_asset_starts_once_after_its_dependencies_and_every_run_ends(
    graph: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    states = dict.fromkeys(graph, PENDING)
    started: list[str] = []
    for _step in range(3 * len(graph) + 1):
        decided = plan(graph, states, NOW)
        for asset, _blocked_by in decided.skip:
            states[asset] = AssetState(MaterializationStatus.SKIPPED)
        for asset in decided.start:
            assert asset not in started
            assert all(states[need] == SUCCESS for need in graph[asset])
            started.append(asset)
            states[asset] = RUNNING
        if decided.finished is not None:
            break
        running = sorted(asset for asset, state in states.items() if state == RUNNING)
        ends = data.draw(st.sampled_from(running))
        states[ends] = data.draw(st.sampled_from([SUCCESS, FAILED]))
    assert decided.finished is not None
    assert {state.status for state in states.values()} <= FINISHED_MATERIALIZATIONS
