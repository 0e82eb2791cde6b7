"""Connectors from JSON: the shape of the schema, all errors at once, and the same again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import flowstone as fs
from actors.testing import ManualClock
from flowstone.connectors.definitions import parse, schema

NODE: dict[str, Any] = {
    "id": "periodic-connector-1",
    "type": "connector",
    "config": {
        "subtype": "scheduled",
        "scheduledTask": {
            "name": "periodic-heartbeat-connector",
            "cronExpression": "*/1 * * * *",
            "triggerEventType": "connector.trigger.periodic-connector-1",
            "signalEventType": "signal.periodic.heartbeat",
            "signalPayload": {"beat": 1},
        },
    },
}


def changed(**task: Any) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(json.dumps(NODE))
    node["config"]["scheduledTask"] |= task
    return node


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2025, 1, 15, 12, tzinfo=UTC))


@pytest.fixture
def runtime(clock: ManualClock) -> Iterator[fs.Runtime]:
    with fs.Runtime(store="memory://", clock=clock) as runtime:
        yield runtime


def test_a_definition_makes_its_task_and_its_connector(runtime: fs.Runtime, clock: ManualClock) -> None:
    seen: list[Any] = []
    runtime.connectors.on_event("signal.periodic.heartbeat", seen.append)
    (task,) = runtime.connectors.load(json.dumps(NODE))
    assert (task.name, task.event_type) == ("periodic-heartbeat-connector", "connector.trigger.periodic-connector-1")
    assert task.payload == {"connectorId": "periodic-connector-1", "beat": 1}
    clock.advance("1m")
    runtime.drain(timeout=20)
    assert [event.payload for event in seen] == [{"beat": 1}]


def test_loading_the_same_again_changes_nothing(runtime: fs.Runtime) -> None:
    first = runtime.connectors.load([NODE])
    written = len(runtime.audit.list())
    assert runtime.connectors.load(NODE) == first
    assert len(runtime.audit.list()) == written


def test_a_task_that_is_defined_otherwise_is_updated(runtime: fs.Runtime) -> None:
    runtime.connectors.load(NODE)
    (task,) = runtime.connectors.load(changed(cronExpression="0 * * * *"))
    assert task.cron_expression == "0 * * * *"


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_changed(runtime: fs.Runtime) -> None:
    nodes = [
        changed(cronExpresion="* * * * *"),
        changed(cronExpression="61 * * * *"),
        changed(signalEventType="no.signal"),
        {"id": "x", "type": "sensor", "config": {"subtype": "odd"}},
        "nonsense",
    ]
    with pytest.raises(fs.ValidationError) as caught:
        runtime.connectors.load(nodes)
    text = str(caught.value)
    assert "did you mean 'cronExpression'" in text and "61" in text and "signal." in text
    assert "'connector'" in text and "'scheduled'" in text and "node 4" in text
    assert len(caught.value.problems) >= 6
    assert runtime.connectors.list_scheduled_tasks() == ()


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(fs.ValidationError, match="got twice"):
        parse([NODE, NODE])


@pytest.mark.parametrize("given", ["{", "", [], 3, None, "[]"])
def test_what_is_no_definition_is_refused(given: object) -> None:
    with pytest.raises(fs.ValidationError):
        parse(given)


def test_the_schema_that_ships_takes_what_is_taken_and_names_every_key() -> None:
    task = schema()["$defs"]["scheduledTask"]
    assert set(NODE["config"]["scheduledTask"]) <= set(task["properties"])
    assert task["additionalProperties"] is False
    assert set(task["required"]) == {"name", "cronExpression", "signalEventType"}
