"""Polls while a sensor's duty moves between nodes: made beside, tried again while stale, or told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flowstone as fs
from actors import ActorDeadError
from flowstone.sensors import calls
from flowstone.sensors.around import _known
from flowstone.sensors.calls import Sensors
from flowstone.sensors.rows import EvaluationStatus
from flowstone.state.database import Database
from flowstone.state.membership import Membership


class Quiet(fs.Sensor):
    """Nothing ever happens."""

    def poll(self, state: Any) -> fs.NoTrigger:
        return fs.NoTrigger()


@pytest.fixture
def runtime() -> Iterator[fs.Runtime]:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    shop.sensor("quiet", Quiet(), every=None, target="raw")
    with fs.Runtime(shop, store="memory://") as runtime:
        yield runtime


def refusing(error: Exception) -> Any:
    def ref(self: Sensors, name: str) -> Any:
        raise error

    return ref


def test_a_sensor_that_goes_to_another_node_while_it_is_polled_is_polled_beside(
    runtime: fs.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(Membership, "has", lambda self, duty: next(answers, False))
    monkeypatch.setattr(Sensors, "ref", refusing(ActorDeadError("it went")))
    assert runtime.sensors.poll("quiet").status is EvaluationStatus.NO_TRIGGER


def test_a_sensor_that_is_nowhere_just_now_is_polled_beside(
    runtime: fs.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sensors, "ref", refusing(fs.RuntimeStopped("no actor")))
    with pytest.raises(fs.RuntimeStopped):
        runtime.sensors.poll("quiet")
    monkeypatch.setattr(runtime._services.membership, "shared", True)
    monkeypatch.setattr(Membership, "has", lambda self, duty: True)
    assert runtime.sensors.poll("quiet").status is EvaluationStatus.NO_TRIGGER


@pytest.mark.parametrize("stale", [2, 100])
def test_a_poll_beside_is_made_again_while_it_is_stale_and_some_times_at_most(
    runtime: fs.Runtime, monkeypatch: pytest.MonkeyPatch, stale: int
) -> None:
    made: list[Any] = []

    class Evaluation:
        def __init__(self, number: int) -> None:
            self.status = EvaluationStatus.SKIPPED_STALE if number < stale else EvaluationStatus.NO_TRIGGER

    def poll_beside(*arguments: Any) -> Any:
        made.append(Evaluation(len(made)))
        return made[-1]

    monkeypatch.setattr(calls, "poll_beside", poll_beside)
    monkeypatch.setattr(Membership, "has", lambda self, duty: False)
    assert runtime.sensors.poll("quiet") is made[-1]
    assert len(made) == min(stale + 1, calls.BESIDE_TRIES)


def test_a_clients_poll_names_who_asked(tmp_path: Any) -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    shop.sensor("quiet", Quiet(), every=None, target="raw")
    with fs.Client(shop, store=f"sqlite:///{tmp_path}/store.db") as client:
        client.sensors.poll("quiet", by="ada")
        with pytest.raises(fs.ValidationError):
            client.sensors.poll("quiet", by="")
        assert [row.actor for row in client.audit.list(event_type="sensor.polled")] == ["ada"]


def test_what_a_sensor_has_seen_is_known_however_long_ago(make_store_url: Any) -> None:
    with Database.open(make_store_url("memory")) as database:
        assert database.read(lambda connection: _known(connection, "quiet", ["a"], None)) == []
