"""A poll by a process that opened the store beside the runtime: the same transactions, no actor."""

from __future__ import annotations

import threading
from pathlib import Path

import flowstone as fs
import pytest

from flowstone.state.database import Database
from flowstone.testing import ScriptedSensor


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def scripted() -> ScriptedSensor:
    return ScriptedSensor({"seen": 0})


@pytest.fixture
def shop(scripted) -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: context.partition, name="raw")
    made.sensor("files", scripted, every="1m", target="raw", timeout="30s", break_after=2)
    return made


def test_it_is_committed_as_the_sensors_actor_would(shop, scripted, url):
    with fs.Client(shop, store=url) as client:
        scripted.set_next(fs.Trigger("a", "b", state={"seen": 2}))
        evaluation = client.sensors.poll("files")
        row = client.sensors.get("files")
        assert (evaluation.status, evaluation.cause, evaluation.request_count) == ("triggered", "manual", 2)
        assert (evaluation.expected_state_version, evaluation.state_version_after) == (0, 1)
        assert evaluation.cursor_before["state"] == {"seen": 0}
        assert (row.state, row.state_version) == ({"seen": 2}, 1)
        assert {run.run_id for run in client.runs.list(status="queued")} == set(evaluation.run_ids)
        assert client.sensors.poll("files").status == "no_trigger"
        assert scripted.polls == 2


def test_the_service_runs_what_it_asked_for_and_goes_on_from_its_state(shop, scripted, url):
    with fs.Runtime(shop, store=url) as runtime, fs.Client(shop, store=url) as client:
        scripted.set_next(fs.Trigger("a", state={"seen": 1}))
        evaluation = client.sensors.poll("files")
        made = threading.Event()
        runtime.telemetry.attach("flowstone.run.finished", lambda *event: made.set())
        assert made.wait(20) or runtime.runs.get(evaluation.run_ids[0]).status == "success"
        assert runtime.sensors.poll("files").expected_state_version == 1


def test_a_poll_whose_state_moved_on_meanwhile_is_stale(url):
    class Meddling(ScriptedSensor):
        def poll(self, state):
            client.sensors.reset("files", {"seen": 9})
            return fs.Trigger("a", state={"seen": 1})

    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="raw")
    shop.sensor("files", Meddling(), every="1h", target="raw")
    with fs.Client(shop, store=url) as client:
        evaluation = client.sensors.poll("files")
        assert (evaluation.status, evaluation.request_count) == ("skipped_stale", 0)
        assert client.sensors.get("files").state == {"seen": 9}
        assert client.runs.list() == ()


def test_a_failure_is_recorded_and_delays_the_next_poll_of_the_timer(shop, scripted, url):
    with fs.Client(shop, store=url) as client:
        before = client.sensors.get("files")
        scripted.set_next(ValueError("no"), fs.PollError("still no"))
        failed = [client.sensors.poll("files") for _poll in range(2)]
        row = client.sensors.get("files")
        assert [each.reason_code for each in failed] == ["exception:ValueError", "poll_error"]
        assert (row.consecutive_failures, row.status, row.reason) == (2, "broken", "failures")
        assert row.next_poll_at > before.next_poll_at
        assert client.sensors.poll("files").status == "no_trigger"
        assert client.sensors.get("files").status == "active"


def test_an_init_that_fails_is_an_error_and_leaves_no_state(shop, scripted, url):
    class Hopeless(ScriptedSensor):
        def init(self):
            raise OSError("no queue")

    shop.sensor("hopeless", Hopeless(), every="1h", target="raw")
    with fs.Client(shop, store=url) as client:
        assert client.sensors.poll("hopeless").reason_code == "exception:OSError"
        assert client.sensors.get("hopeless").cursor is None


def test_a_paused_sensor_is_skipped_without_a_call(shop, scripted, url):
    with fs.Client(shop, store=url) as client:
        client.sensors.pause("files")
        evaluation = client.sensors.poll("files")
        assert (evaluation.status, evaluation.reason, scripted.polls) == ("skipped", "paused", 0)


def test_a_poll_that_outlasts_the_sensors_timeout_is_an_error(scripted, url):
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="raw")
    shop.sensor("files", scripted, every="1h", target="raw", timeout="50ms")
    hang = threading.Event()
    scripted.set_next(hang)
    with fs.Client(shop, store=url) as client:
        assert client.sensors.poll("files").reason_code == "timeout"
        hang.set()


def test_who_does_not_wait_that_long_leaves_no_trace(shop, scripted, url):
    hang = threading.Event()
    scripted.set_next(hang)
    with fs.Client(shop, store=url) as client:
        with pytest.raises(fs.TimeoutExceeded, match="within 0.05 s"):
            client.sensors.poll("files", timeout="50ms")
        assert client.sensors.history("files") == ()
        hang.set()


def test_an_unknown_sensor_is_refused_with_a_suggestion(shop, url):
    with fs.Client(shop, store=url) as client, pytest.raises(fs.SensorNotFound, match="did you mean 'files'"):
        client.sensors.poll("fils")


def test_a_cursor_that_the_type_can_not_read_is_an_error_that_leaves_the_row_alone(shop, scripted, url):
    with fs.Client(shop, store=url) as client:
        client.sensors.poll("files")
    other = "{\"v\":1,\"type\":\"elsewhere:Other\",\"state\":{\"seen\":5}}"
    with Database.open(url, exclusive=False) as database:
        database.transact(lambda connection: connection.execute("update sensor set cursor = :cursor", cursor=other))
    with fs.Client(store=url) as plain:
        before = plain.sensors.get("files").cursor
    with fs.Client(shop, store=url) as client:
        evaluation = client.sensors.poll("files")
        assert (evaluation.status, evaluation.reason_code) == ("error", "bad_cursor")
        assert client.sensors.get("files").cursor == before
