"""Pushes: evaluated under the message id, once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowstone.core.run import RunRequest
from flowstone.errors import ExecutionError, SensorNotFound, ValidationError
from flowstone.runs.store import list_runs
from flowstone.sensors import Arrival, NoTrigger, PollError, Push, SensorSpec, Trigger

Pushed = Callable[..., SensorSpec]


@pytest.fixture
def pushed() -> Pushed:
    """Makes a definition of sensor `orders` that messages are pushed to."""

    def make(sensor: Push | None = None, **options: Any) -> SensorSpec:
        return SensorSpec("orders", sensor or Push(), **{"target": "raw", **options})

    return make


class Batch(Push):
    """Answers what the message holds."""

    def receive(self, message: Any) -> Any:
        answer = ANSWERS[message]
        if isinstance(answer, Exception):
            raise answer
        return answer


ANSWERS: dict[str, Any] = {
    "many": Trigger("a", Arrival("b", payload={"own": 1}), RunRequest("days", "2025-01-01")),
    "none": NoTrigger(reason="not for us"),
    "error": PollError("bad message"),
    "raise": ValueError("boom"),
    "nonsense": None,
    "state": NoTrigger(state={"mine": 1}),
}


def runs_of(room: Any) -> list[Any]:
    return sorted(room.database.read(lambda c: list_runs(c)), key=lambda run: str(run.run_key))


def test_a_push_commits_a_run_whose_payload_is_the_message(room: Any, pushed: Pushed) -> None:
    room.open(pushed(partition=lambda message: message["day"], target="days"))
    evaluation = room.sensors.push("orders", {"day": "2025-01-15"}, message_id="m-1")
    assert (evaluation.status, evaluation.request_count) == ("triggered", 1)
    assert evaluation.eval_key == "sensor_eval:orders:msg:m-1"
    (run,) = runs_of(room)
    assert (run.run_key, run.run_id) == ("sensor:orders:msg:m-1", evaluation.run_ids[0])
    payload = room.database.read(lambda c: c.execute("select payload from run"))[0].payload
    assert payload == '{"day":"2025-01-15"}'
    assert [(name, day.isoformat()) for _, name, day in room.published] == [("orders", "2025-01-15")]


def test_a_push_touches_neither_cursor_nor_version(room: Any, pushed: Pushed) -> None:
    room.open(pushed(Batch()))
    before = room.sensors.get("orders")
    evaluation = room.sensors.push("orders", "state", message_id="m")
    after = room.sensors.get("orders")
    assert (after.cursor, after.state_version) == (before.cursor, before.state_version)
    assert (evaluation.expected_state_version, evaluation.state_version_after) == (None, None)
    assert (evaluation.cursor_before, evaluation.cursor_after) == (None, None)
    assert after.last_evaluation_at == room.clock.now()


def test_a_message_id_seen_before_gives_the_first_evaluation_and_calls_nothing(room: Any, pushed: Pushed) -> None:
    seen: list[Any] = []
    room.open(pushed(partition=seen.append))
    first = room.sensors.push("orders", "a", message_id="m")
    assert room.sensors.push("orders", "other", message_id="m") == first
    assert (seen, len(runs_of(room))) == (["a"], 1)


@pytest.mark.concurrent
def test_a_message_pushed_from_five_threads_at_once_is_one_run(room: Any, pushed: Pushed) -> None:
    room.open(pushed())
    barrier, answers = threading.Barrier(5), list[Any]()

    def go() -> None:
        barrier.wait(5)
        answers.append(room.sensors.push("orders", "a", message_id="m"))

    threads = [threading.Thread(target=go) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.eval_id for answer in answers}) == 1
    assert len(answers) == 5
    assert (len(runs_of(room)), len(room.sensors.history("orders"))) == (1, 1)


def test_later_requests_of_a_push_are_numbered(room: Any, pushed: Pushed) -> None:
    room.open(pushed(Batch()))
    assert room.sensors.push("orders", "many", message_id="m").request_count == 3
    runs = runs_of(room)
    assert [run.run_key for run in runs] == [f"sensor:orders:msg:m{n}" for n in ("", ":1", ":2")]
    rows = room.database.read(lambda c: c.execute("select payload from run order by run_key"))
    assert [row.payload for row in rows] == ['"many"', '{"own":1}', None]


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        ("none", "no_trigger", None),
        ("error", "error", "poll_error"),
        ("raise", "error", "exception:ValueError"),
        ("nonsense", "error", "bad_answer"),
    ],
)
def test_what_a_push_comes_to(room: Any, pushed: Pushed, message: str, status: str, code: str | None) -> None:
    room.open(pushed(Batch(), break_after=1))
    evaluation = room.sensors.push("orders", message, message_id="m")
    assert (evaluation.status, evaluation.reason_code) == (status, code)
    assert (room.sensors.get("orders").status, runs_of(room)) == ("active", [])


def test_an_evaluation_that_failed_does_not_consume_the_id(room: Any, pushed: Pushed) -> None:
    answers: list[Any] = [ValueError("boom"), ValueError("boom"), "day"]

    def partition(message: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    room.open(pushed(partition=partition))
    rows = [room.sensors.push("orders", "a", message_id="m") for _ in range(4)]
    assert [row.status for row in rows] == ["error", "error", "triggered", "triggered"]
    assert len({row.eval_id for row in rows}) == 3
    assert len(runs_of(room)) == 1


def test_a_paused_sensor_skips_a_push_without_consuming_it(room: Any, pushed: Pushed) -> None:
    room.open(pushed(Push(partition=lambda message: "eu")))
    room.sensors.pause("orders")
    skipped = room.sensors.push("orders", "a", message_id="m")
    assert (skipped.status, skipped.reason) == ("skipped", "paused")
    room.sensors.resume("orders")
    assert room.sensors.push("orders", "a", message_id="m").status == "triggered"
    assert runs_of(room)[0].partition == "eu"


def test_a_message_id_may_be_computed(room: Any, pushed: Pushed) -> None:
    room.open(pushed(Push(message_id=lambda message: message["id"])))
    evaluation = room.sensors.push("orders", {"id": "7"})
    assert evaluation.eval_key == "sensor_eval:orders:msg:7"
    assert room.sensors.push("orders", {"id": "7"}) == evaluation
    assert room.sensors.push("orders", {"id": "7"}, message_id="8").eval_key.endswith(":8")
    with pytest.raises(ExecutionError, match="no message id could be computed") as caught:
        room.sensors.push("orders", {})
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("message_id", [None, "", 7, b"x"])
def test_a_push_without_an_id_is_refused(room: Any, pushed: Pushed, message_id: Any) -> None:
    room.open(pushed())
    with pytest.raises(ValidationError, match="expected a message_id of text"):
        room.sensors.push("orders", "a", message_id=message_id)
    assert room.sensors.history("orders") == ()


@pytest.mark.parametrize("message_id", ["a:b", "x" * 9000, "\x00\udcff", "#1"])
def test_any_text_is_a_message_id(room: Any, pushed: Pushed, message_id: str) -> None:
    room.open(pushed())
    first = room.sensors.push("orders", "a", message_id=message_id)
    assert first.eval_key.startswith("sensor_eval:orders:msg:sha256:")
    assert room.sensors.push("orders", "a", message_id=message_id) == first


def test_a_message_that_is_no_json_is_an_error_evaluation(room: Any, pushed: Pushed) -> None:
    room.open(pushed())
    assert room.sensors.push("orders", object(), message_id="m").reason_code == "validation_error"


def test_only_a_push_sensor_takes_messages(room: Any, spec: Callable[..., SensorSpec]) -> None:
    room.open(spec())
    with pytest.raises(ValidationError, match="it is polled"):
        room.sensors.push("orders", "a", message_id="m")
    with pytest.raises(SensorNotFound):
        room.sensors.push("oders", "a", message_id="m")


def test_a_push_sensor_is_not_polled(room: Any, pushed: Pushed) -> None:
    room.open(pushed())
    assert (room.sensors.get("orders").kind, room.sensors.get("orders").poll_interval) == ("push", None)
    assert room.sensors.poll("orders").reason == "messages are pushed to this sensor"
    with pytest.raises(ValidationError, match="to have no every"):
        pushed(every="30s")


def test_pushes_that_hang_are_given_up_and_limited(room: Any, pushed: Pushed) -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def partition(message: Any) -> Any:
        begun.release()
        gate.wait(20)

    room.open(pushed(partition=partition, timeout="10s", max_abandoned=1))
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(room.sensors.push("orders", "a", message_id="m")))
    thread.start()
    assert begun.acquire(timeout=5)
    room.clock.advance("10s")
    thread.join()
    assert answers[0].reason == "timeout"
    assert room.sensors.push("orders", "a", message_id="m").reason == "abandoned"
    gate.set()


def test_bad_options_of_a_push_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected message_id to be callable"):
        Push(message_id="id")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ValidationError, match="did you mean 'partition'"):
        Push(partition_fn=str)  # type: ignore[call-arg]  # what the test is about
