"""The tables of which status may follow which (semantics 7)."""

from itertools import product
from typing import Any

import pytest

from flowstone.core.run import (
    FINISHED_MATERIALIZATIONS,
    FINISHED_RUNS,
    MATERIALIZATION_STEPS,
    RUN_STEPS,
    MaterializationStatus,
    RunRequest,
    RunStatus,
    step,
)
from flowstone.errors import StaleState, ValidationError

TABLES = [(RUN_STEPS, RunStatus), (MATERIALIZATION_STEPS, MaterializationStatus)]


@pytest.mark.parametrize(("table", "statuses"), TABLES, ids=["run", "materialization"])
def test_a_step_is_taken_when_the_table_has_it_and_refused_by_both_names_else(table: Any, statuses: Any) -> None:
    assert set(table) == set(statuses)
    for before, after in product(statuses, statuses):
        if after in table[before]:
            assert step(table, before, after) is after
        else:
            with pytest.raises(StaleState, match=f"from {before} to .*; got: {after}"):
                step(table, before, after)


@pytest.mark.parametrize(("table", "statuses"), TABLES, ids=["run", "materialization"])
def test_each_status_can_be_reached_and_left_until_it_is_a_finished_one(table: Any, statuses: Any) -> None:
    first = statuses("queued" if statuses is RunStatus else "pending")
    finished = FINISHED_RUNS if statuses is RunStatus else FINISHED_MATERIALIZATIONS
    reached = {first}
    while more := {after for before in reached for after in table[before]} - reached:
        reached |= more
    assert reached == set(statuses)
    for status in statuses:
        assert (status in finished) == (not table[status])
        ends = {status}
        while more := {after for before in ends for after in table[before]} - ends:
            ends |= more
        assert ends & finished


def test_the_finished_ones_are_those_of_the_rules() -> None:
    assert {"success", "failed", "cancelled"} == FINISHED_RUNS
    assert {"success", "failed", "skipped", "cancelled"} == FINISHED_MATERIALIZATIONS


@pytest.mark.parametrize("asset", ["", " ", None, 3])
def test_a_request_names_an_asset_or_a_selection(asset: Any) -> None:
    with pytest.raises(ValidationError, match="expected asset to be a name or a selection"):
        RunRequest(asset)
