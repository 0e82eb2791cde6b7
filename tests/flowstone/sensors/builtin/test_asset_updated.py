"""The materializations of another asset: each of them, in order, once, for each sensor."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone.core.asset import Asset
from flowstone.core.partitions import encode_partition
from flowstone.errors import ValidationError
from flowstone.sensors import AssetUpdated, PollError, SensorSpec

EVENT = "insert into asset_event (asset, partition, run_id, at) values (:asset, :partition, :run_id, :now)"
WITH_ID = EVENT.replace("(asset", "(id, asset").replace("(:asset", "(:id, :asset")


def tell(room: Any, *partitions: Any, asset: str = "orders", **given: Any) -> None:
    """Materializations, written as runs write them."""

    def write(connection: Any) -> None:
        for partition in partitions:
            now = room.clock.now()
            told = {"asset": asset, "partition": encode_partition(partition), "run_id": "run_1", "now": now, **given}
            connection.execute(WITH_ID if "id" in given else EVENT, told)

    room.database.transact(write)


def spec(*, name: str = "follow", every: str = "30s", **options: Any) -> SensorSpec:
    return SensorSpec(name, AssetUpdated("orders", **options), every=every, target="raw")


def partitions(room: Any, name: str = "follow") -> list[Any]:
    return [partition for _, sensor, partition in room.published if sensor == name]


def test_each_materialization_is_a_request_in_order(room: Any) -> None:
    room.open(spec())
    tell(room, "b", "a", "a")
    tell(room, "c", asset="raw")
    evaluation = room.sensors.poll("follow")
    assert (evaluation.request_count, partitions(room)) == (3, ["b", "a", "a"])
    assert room.sensors.poll("follow").status == "no_trigger"
    payload = room.database.read(lambda c: c.execute("select payload from run"))[0].payload
    assert '"run_id":"run_1"' in str(payload).replace(" ", "").replace("'", '"')


def test_each_sensor_has_an_offset_of_its_own_across_restarts(durable: Any) -> None:
    room = durable.open(spec(), spec(name="late", partition=lambda partition: f"{partition}!"))
    tell(room, "a")
    room.sensors.poll("follow")
    room.close()
    room.open()
    tell(room, "b")
    room.sensors.poll("follow")
    room.sensors.poll("late")
    assert (partitions(room), partitions(room, "late")) == (["a", "b"], ["a!", "b!"])


def test_what_the_log_holds_at_first_may_count_as_seen(room: Any) -> None:
    room.open(spec(existing="ignore"))
    tell(room, "old")
    room.sensors.reset("follow", None)
    room.settle()
    tell(room, "new")
    room.sensors.poll("follow")
    assert partitions(room) == ["new"]


def test_a_long_log_is_read_in_parts_at_once(room: Any) -> None:
    room.open(spec())
    tell(room, *map(str, range(1500)))
    room.sensors.poll("follow")
    room.sensors.poll("follow")
    assert [row.request_count for row in reversed(room.sensors.history("follow"))][:2] == [1000, 500]
    assert partitions(room) == [str(number) for number in range(1500)]


def test_what_is_committed_late_still_arrives_once(room: Any) -> None:
    room.open(spec())
    tell(room, "later", id=50)
    room.sensors.poll("follow")
    tell(room, "earlier", id=49)
    assert room.sensors.poll("follow").request_count == 1
    assert room.sensors.poll("follow").request_count == 0
    assert partitions(room) == ["later", "earlier"]


def test_what_is_older_than_a_day_is_not_looked_for_again(room: Any) -> None:
    room.open(spec(every="1d"))
    tell(room, "a", "b")
    room.sensors.poll("follow")
    room.clock.advance("9d")
    tell(room, "c")
    room.sensors.poll("follow")
    assert partitions(room) == ["a", "b", "c"]


def test_another_asset_begins_afresh(durable: Any) -> None:
    room = durable.open(spec())
    tell(room, "a")
    tell(room, "x", asset="days")
    room.sensors.poll("follow")
    room.close()
    room.open(SensorSpec("follow", AssetUpdated(Asset(lambda context: 1, name="days")), every="30s", target="raw"))
    room.sensors.poll("follow")
    assert partitions(room) == ["a", "x"]


def test_without_a_runtime_there_is_no_log() -> None:
    sensor = AssetUpdated("orders", existing="ignore")
    with pytest.raises(PollError) as caught:
        sensor.poll(sensor.init())
    assert caught.value.code == "no_store"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"asset": ""}, "asset"),
        ({"asset": 7}, "asset"),
        ({"existing": "ignored"}, "did you mean 'ignore'"),
        ({"partition": 1}, "partition"),
        ({"partition_fn": str}, "did you mean 'partition'"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        AssetUpdated(**{"asset": "orders", **options})


@pytest.mark.property
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["tell", "many", "poll", "restart", "wait"]), max_size=12))
def test_the_runs_are_the_materializations(durable: Any, steps: list[str]) -> None:
    room = durable.open(spec())
    room.sensors.poll("follow")
    room.published.clear()
    told = 0
    for step in [*steps, "poll"]:
        if step in ("tell", "many"):
            count = 1 if step == "tell" else 40
            tell(room, *(f"{told + number}" for number in range(count)))
            told += count
        elif step == "poll":
            room.sensors.poll("follow")
        elif step == "wait":
            room.clock.advance(timedelta(seconds=30))
        else:
            room.close()
            room.open()
    room.settle()
    seen, expected = partitions(room), [str(number) for number in range(told)]
    room.close()
    assert seen == expected
