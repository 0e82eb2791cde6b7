"""Bad input to sensors and schedules: a clear error or a recorded evaluation, and the stored state as it was."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.sensors import Push
from flowstone.state.database import Database
from flowstone.testing import ScriptedSensor, assert_materialized

Start = Callable[..., fs.Runtime]


class Colour(enum.Enum):
    RED = 1


class Odd(str):
    """A text of a class of its own."""


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(flowstone_runtime: Start, backend: str) -> Start:
    """Starts a runtime in memory."""
    return lambda shop: flowstone_runtime(shop, backend=backend)


@pytest.fixture
def start_on_each(store_url: str, flowstone_runtime: Start, backend: str) -> Start:
    """Starts a runtime on each kind of store, which outlives it."""
    return lambda shop: flowstone_runtime(shop, store=store_url, backend=backend, io_manager="memory")


@pytest.fixture
def feed() -> ScriptedSensor:
    return ScriptedSensor({"seen": 1})


@pytest.fixture
def shop(feed: ScriptedSensor) -> fs.Pipeline:
    """An asset without partitions, one by the day, and a sensor for each of both."""
    made = fs.Pipeline("shop")
    made.asset(lambda context: context.partition, name="raw")
    made.asset(lambda context: context.partition, name="days", partitions=fs.Daily(start="2025-01-01"))
    made.sensor("feed", feed, every="30s", target="raw", break_after=1000)
    made.sensor("daily", ScriptedSensor(), every="30s", target="days")
    made.sensor("orders", Push(), target="raw")
    return made


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


ALLOWED = "expected poll to answer Trigger, NoTrigger or PollError"
ANSWERS: list[tuple[Any, str, str]] = [
    (None, "bad_answer", f"{ALLOWED}, got: None (NoneType)"),
    (True, "bad_answer", f"{ALLOWED}, got: True (bool)"),
    ("2025-01-15", "bad_answer", f"{ALLOWED}, got: '2025-01-15' (str)"),
    (("trigger", "2025-01-15", {}), "bad_answer", "(tuple)"),
    (fs.Trigger, "bad_answer", ALLOWED),
    (Unshowable(), "bad_answer", "(Unshowable)"),
    (fs.PollError(Unshowable()), "poll_error", "poll_error"),
    (fs.Trigger("a", state=object()), "bad_state", "expected the state to be JSON"),
    (fs.Trigger("a", state={1, 2}), "bad_state", "expected the state to be JSON"),
    (fs.Trigger("a", state={"at": datetime(2025, 1, 1, tzinfo=UTC)}), "bad_state", "datetime"),
    (fs.Trigger("a", state=(1, 2)), "bad_state", "lists for tuples"),
    (fs.Trigger("a", state={1: "one"}), "bad_state", "texts for keys"),
    (fs.Trigger("a", state=b"bytes"), "bad_state", "bytes"),
    (fs.NoTrigger(state=float("nan")), "bad_state", "expected the state to be JSON"),
    (fs.NoTrigger(state=float("inf")), "bad_state", "expected the state to be JSON"),
    (fs.NoTrigger(state=nested(100_000)), "bad_state", "expected the state to be JSON"),
    (fs.NoTrigger(state=10 ** sys.get_int_max_str_digits()), "bad_state", "expected the state to be JSON"),
    (fs.Trigger(1.5), "partition_error", "float"),
    (fs.Trigger(["a"]), "partition_error", "list"),
    (fs.Trigger({"day": "a"}), "partition_error", "dict"),
    (fs.Trigger(Colour.RED), "partition_error", "Colour"),
    (fs.Trigger(Odd("a")), "partition_error", "Odd"),
    (fs.Trigger(timedelta(1)), "partition_error", "timedelta"),
    (fs.Trigger("\ud800"), "partition_error", "surrogate"),
    (fs.Trigger(("a", 1.5)), "partition_error", "float"),
    (fs.Trigger("a", 1.5), "partition_error", "float"),
    (fs.Trigger(fs.RunRequest("days", date(2024, 12, 31))), "partition_error", "does not hold"),
    (fs.Trigger(fs.RunRequest("days", "yesterday")), "partition_error", "yesterday"),
    (fs.Trigger(fs.RunRequest("rwa", "a")), "asset_not_found", "did you mean 'raw'"),
    (fs.Trigger(fs.Arrival("a", payload=object())), "validation_error", "payload"),
    (fs.Trigger(fs.Arrival("a", payload="x" * 70_000)), "validation_error", "65536 bytes"),
    (ValueError("boom"), "exception:ValueError", "boom"),
    (SystemExit(3), "exception:SystemExit", "3"),
    (KeyboardInterrupt(), "exception:KeyboardInterrupt", "KeyboardInterrupt"),
    (ValueError("nul \x00 and \udcff"), "exception:ValueError", "\\x00"),
    (ValueError("x" * 1_000_000), "exception:ValueError", "xxx"),
]


def test_whatever_a_poll_answers_is_an_error_that_leaves_the_state_as_it_was(
    start_on_each: Start, shop: fs.Pipeline, feed: ScriptedSensor
) -> None:
    runtime = start_on_each(shop)
    feed.set_next(fs.NoTrigger(state={"seen": 2}))
    runtime.sensors.poll("feed")
    before = runtime.sensors.get("feed")
    for number, (answer, code, says) in enumerate(ANSWERS, start=1):
        feed.set_next(answer)
        evaluation = runtime.sensors.poll("feed")
        assert (evaluation.status, evaluation.reason_code) == ("error", code), evaluation.reason
        assert evaluation.reason.startswith(code) and says in evaluation.reason
        row = runtime.sensors.get("feed")
        assert (row.cursor, row.state_version) == (before.cursor, before.state_version)
        assert row.consecutive_failures == number
    assert runtime.runs.list() == ()
    feed.set_next(fs.Trigger("a", state={"seen": 3}))
    assert runtime.sensors.poll("feed").status == "triggered"
    runtime.drain(timeout=20)
    assert_materialized(runtime, "raw", partition="a")
    assert (runtime.sensors.get("feed").state, runtime.sensors.get("feed").consecutive_failures) == ({"seen": 3}, 0)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: fs.Trigger(), "at least one partition"),
    (lambda: fs.RunRequest("raw", "a", run_key="k" * 513), "run key"),
    (lambda: fs.RunRequest("raw", "a", run_key="order#2"), "run key"),
    (lambda: fs.RunRequest("raw", "a", run_key=""), "run key"),
    (lambda: fs.RunRequest("raw", "a", run_key=b"order"), "run key"),
    (lambda: fs.Arrival("a", key=""), "key"),
    (lambda: fs.Trigger("a", cursor=1), "cursor"),
]


@pytest.mark.parametrize(("make", "says"), REFUSED)
def test_what_is_refused_while_a_poll_makes_its_answer_is_an_error_evaluation(
    start: Start, shop: fs.Pipeline, make: Callable[[], Any], says: str
) -> None:
    class Making(ScriptedSensor):
        def poll(self, state: Any) -> Any:
            return make()

    shop.sensor("making", Making(5), target="raw")
    runtime = start(shop)
    evaluation = runtime.sensors.poll("making")
    assert (evaluation.status, evaluation.reason_code) == ("error", "exception:ValidationError")
    assert says in evaluation.reason
    assert (runtime.sensors.get("making").state, runtime.runs.list()) == (5, ())


STATES = [None, False, "", "nul \x00", "\ud800", {"": [{}, None]}, 10**400, -0.0, {"\ud800": "\x00"}, "x" * 1_000_000]


def test_whatever_is_json_is_a_state(start_on_each: Start, shop: fs.Pipeline, feed: ScriptedSensor) -> None:
    runtime = start_on_each(shop)
    for state in STATES:
        feed.set_next(fs.NoTrigger(state=state))
        assert runtime.sensors.poll("feed").status == "no_trigger"
        assert runtime.sensors.get("feed").state == state


ODD_TEXTS = ["nul \x00", "line\nline", "'; drop table run; --", "a|b", "../../etc/passwd", "\u202e", "x" * 10_000]


def test_any_text_is_a_partition_a_payload_and_the_key_of_an_arrival(
    start_on_each: Start, shop: fs.Pipeline, feed: ScriptedSensor
) -> None:
    runtime = start_on_each(shop)
    for text in ODD_TEXTS:
        feed.set_next(*[fs.Trigger(fs.Arrival(text, key=text, payload=[text, "\ud800"]))] * 2)
        assert runtime.sensors.poll("feed").status == "triggered"
        again = runtime.sensors.poll("feed")
        assert (again.status, again.duplicate_count) == ("no_trigger", 1)
    runtime.drain(timeout=20)
    assert [run.partition for run in reversed(runtime.runs.list())] == ODD_TEXTS
    assert {run.status for run in runtime.runs.list()} == {"success"}
    assert all(runtime.get("raw", partition=text) == text for text in ODD_TEXTS)


DAMAGED = ["", "not json", "null", "[]", '{"v":9,"type":"ScriptedSensor","state":1}', "[" * 9999]


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_cursor_that_can_not_be_read_is_an_error_until_the_sensor_is_reset(
    start_on_each: Start, shop: fs.Pipeline, feed: ScriptedSensor, store_url: str, damaged: str
) -> None:
    runtime = start_on_each(shop)
    with Database.open(store_url, exclusive=False) as other:
        damage = "update sensor set cursor = :damaged where name = 'feed'"
        other.transact(lambda connection: connection.execute(damage, damaged=damaged))
        for _ in range(2):
            evaluation = runtime.sensors.poll("feed")
            assert (evaluation.status, evaluation.reason_code) == ("error", "bad_cursor")
            assert "reset the sensor" in evaluation.reason
        (row,) = other.read(lambda connection: connection.execute("select cursor from sensor where name = 'feed'"))
        assert row.cursor == damaged
    assert feed.polls == 0
    runtime.sensors.reset("feed", {"seen": 7})
    assert runtime.sensors.poll("feed").status == "no_trigger"
    assert runtime.sensors.get("feed").state == {"seen": 7}


IDS = ["a", "x" * 10_000, "\x00", "\ud800", "'; --", "a/b c", "#1", "sha256:00", "\u202e", "ä" * 200]


def test_message_ids_of_any_bytes_and_lengths_are_one_run_each(start_on_each: Start, shop: fs.Pipeline) -> None:
    runtime = start_on_each(shop)
    first = [runtime.sensors.push("orders", {"n": n}, message_id=id) for n, id in enumerate(IDS)]
    again = [runtime.sensors.push("orders", {"n": -1}, message_id=id) for id in IDS]
    assert [row.eval_id for row in again] == [row.eval_id for row in first]
    assert len({row.eval_key for row in first}) == len(runtime.runs.list()) == len(IDS)


@pytest.mark.parametrize("message_id", [None, "", b"bytes", 7, ["a"]])
def test_what_is_no_message_id_is_refused_and_leaves_nothing(start: Start, shop: fs.Pipeline, message_id: Any) -> None:
    runtime = start(shop)
    with pytest.raises(fs.ValidationError, match="message_id"):
        runtime.sensors.push("orders", 1, message_id=message_id)
    assert runtime.sensors.history("orders") == () == runtime.runs.list()


@pytest.mark.parametrize("message", [object(), {1, 2}, float("nan"), nested(100_000), b"bytes"])
def test_a_message_that_is_no_json_is_recorded_and_its_id_may_be_used_again(
    start: Start, shop: fs.Pipeline, message: Any
) -> None:
    runtime = start(shop)
    evaluation = runtime.sensors.push("orders", message, message_id="m-1")
    assert (evaluation.status, evaluation.reason_code) == ("error", "validation_error")
    assert runtime.sensors.push("orders", {"n": 1}, message_id="m-1").status == "triggered"


@pytest.mark.parametrize("state", [object(), {1: 2}, (1,), float("nan"), nested(100_000)])
def test_a_reset_to_what_is_no_json_is_refused(start: Start, shop: fs.Pipeline, state: Any) -> None:
    runtime = start(shop)
    runtime.sensors.poll("feed")
    before = runtime.sensors.get("feed")
    with pytest.raises(fs.ValidationError, match="expected the state to be JSON"):
        runtime.sensors.reset("feed", state)
    assert runtime.sensors.get("feed") == before


def test_a_partition_function_that_raises_or_gives_nonsense_is_an_error_evaluation(
    start: Start, shop: fs.Pipeline
) -> None:
    sensors = {name: ScriptedSensor() for name in ("raises", "nonsense")}
    shop.sensor("raises", sensors["raises"], target="raw", partition=lambda found: found["day"])
    shop.sensor("nonsense", sensors["nonsense"], target="raw", partition=lambda found: 1.5)
    runtime = start(shop)
    for name, code in {"raises": "exception:TypeError", "nonsense": "partition_error"}.items():
        sensors[name].set_next(fs.Trigger("a", state=9))
        assert runtime.sensors.poll(name).reason_code == code
        assert runtime.sensors.get(name).state is None
    assert runtime.runs.list() == ()


def test_an_init_that_gives_nonsense_is_tried_again(
    start: Start, shop: fs.Pipeline, flowstone_clock: ManualClock
) -> None:
    class Late(ScriptedSensor):
        def init(self) -> Any:
            self.state, given = {"ready": True}, self.state
            return given

    shop.sensor("late", Late({1, 2}), every="30s", target="raw")
    runtime = start(shop)
    flowstone_clock.advance("2m")
    oldest = runtime.sensors.history("late")[-1]
    assert (oldest.status, oldest.reason_code, oldest.cursor_after) == ("error", "bad_state", None)
    assert (runtime.sensors.get("late").state, runtime.sensors.get("late").status) == ({"ready": True}, "active")


@pytest.fixture
def hourly(start: Start, shop: fs.Pipeline) -> fs.Runtime:
    """A runtime with one schedule, on the hour."""
    shop.schedule("hourly", cron="0 * * * *", target="raw", partition=fs.this_hour)
    return start(shop)


@pytest.mark.parametrize("back", [timedelta(minutes=90), timedelta(days=400)])
def test_a_clock_that_is_set_back_fires_nothing_twice_and_mutes_nobody(
    hourly: fs.Runtime, flowstone_clock: ManualClock, feed: ScriptedSensor, back: timedelta
) -> None:
    flowstone_clock.advance("2h")
    polls = feed.polls
    flowstone_clock.set_wall(flowstone_clock.now() - back)
    flowstone_clock.advance("1h")
    assert len(hourly.schedules.history("hourly")) == len(hourly.runs.list(asset="raw")) == 2
    assert feed.polls == polls + 120
    keys = [row.eval_key for row in hourly.sensors.history("feed", limit=1000)]
    assert len(keys) == len(set(keys)) == feed.polls


BAD_CHANGES: list[tuple[dict[str, Any], type[fs.FlowstoneError], str]] = [
    ({"cron": "61 * * * *"}, fs.CronError, "61"),
    ({"cron": "* * * * * *"}, fs.CronError, "5 fields"),
    ({"cron": None}, fs.ValidationError, "cron"),
    ({"every": "0.5s"}, fs.CronError, "every"),
    ({"timezone": "Mars/Olympus"}, fs.CronError, "Mars/Olympus"),
    ({"target": "rwa"}, fs.AssetNotFound, "did you mean 'raw'"),
    ({"misfire": "never"}, fs.ValidationError, "misfire"),
    ({"overlap": 3}, fs.ValidationError, "overlap"),
    ({"jitter": "-1s"}, fs.ValidationError, "jitter"),
    ({"partition": 3}, fs.ValidationError, "partition"),
    ({"metadata": {"a": object()}}, fs.ValidationError, "JSON"),
    ({"colour": "red"}, fs.ValidationError, "colour"),
    ({"cron_expression": "@daily"}, fs.ValidationError, "did you mean 'cron'"),
]


@pytest.mark.parametrize(("changes", "error", "says"), BAD_CHANGES)
def test_a_bad_change_of_a_schedule_is_refused_and_changes_nothing(
    hourly: fs.Runtime, changes: dict[str, Any], error: type[fs.FlowstoneError], says: str
) -> None:
    before = hourly.schedules.get("hourly")
    with pytest.raises(error, match=says):
        hourly.schedules.update("hourly", **changes)
    assert hourly.schedules.get("hourly") == before


NONSENSE: list[Any] = [1.5, ["a"], object(), "\ud800", Odd("a")]


@pytest.mark.parametrize("value", NONSENSE)
def test_a_partition_rule_that_gives_nonsense_fails_its_tick_alone(
    start: Start, shop: fs.Pipeline, flowstone_clock: ManualClock, value: Any
) -> None:
    shop.schedule("odd", cron="0 * * * *", target="raw", partition=lambda instant: value)
    shop.schedule("fine", cron="0 * * * *", target="raw", partition=fs.this_hour)
    runtime = start(shop)
    flowstone_clock.advance("1h")
    (odd,), (fine,) = runtime.schedules.history("odd"), runtime.schedules.history("fine")
    assert (odd.status, odd.run_id, fine.status) == ("failed", None, "triggered")
    assert odd.error.startswith("partition_error")


@pytest.fixture
def definition() -> Iterator[fs.Pipeline]:
    """A pipeline that stays empty whatever is tried to be defined in it."""
    made = fs.Pipeline("shop")
    yield made
    assert (made.sensors, made.schedules) == ([], [])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": 0}, "every"),
        ({"every": -1}, "every"),
        ({"every": float("nan")}, "every"),
        ({"every": float("inf")}, "every"),
        ({"every": "10 parsecs"}, "every"),
        ({"every": 10**400}, "every"),
        ({"timeout": float("nan")}, "timeout"),
        ({"on_trigger": "print"}, "on_trigger"),
        ({"dedupe": "sometimes"}, "dedupe"),
        ({"check_fn": print}, "check_fn"),
        ({"module": ScriptedSensor}, "module"),
    ],
)
def test_a_bad_definition_of_a_sensor_is_refused(definition: fs.Pipeline, options: dict[str, Any], says: str) -> None:
    with pytest.raises(fs.ValidationError, match=says):
        definition.sensor("feed", ScriptedSensor(), **options)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "a\n", "ä", "x" * 129, None, 7, b"a"])
def test_a_bad_name_is_refused(definition: fs.Pipeline, name: Any) -> None:
    with pytest.raises(fs.ValidationError, match="sensor name"):
        definition.sensor(name, ScriptedSensor())
    with pytest.raises(fs.ValidationError, match="schedule name"):
        definition.schedule(name, every="1m")
