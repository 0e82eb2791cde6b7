"""The contract of sensors: all of ours keep it, and a sensor that breaks a rule is told which."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowstone.sensors import (
    Arrival,
    AssetUpdated,
    DatabaseChange,
    FileArrival,
    NoTrigger,
    PollError,
    Push,
    S3FileArrival,
    Sensor,
    Trigger,
)
from flowstone.testing import sensor_contract
from flowstone.testing.contract import SOURCE


class Folder:
    """Files that arrive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers = itertools.count()

    def arrive(self, runtime: Any, count: int) -> None:
        for _ in range(count):
            hidden = self.path / ".new"
            hidden.write_text("1")
            hidden.rename(self.path / f"{next(self.numbers)}.csv")


class Table:
    """Rows that arrive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.execute("create table t (id integer primary key)")
        connection.close()

    def arrive(self, runtime: Any, count: int) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.executemany("insert into t values (null)", [()] * count)
        connection.close()

    @contextmanager
    def failing(self) -> Iterator[None]:
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        yield
        away.rename(self.path)


class Bucket:
    """Objects that arrive, and the client that lists them."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.down = False

    def arrive(self, runtime: Any, count: int) -> None:
        self.keys += [f"{len(self.keys) + number:06}" for number in range(count)]

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.down = True
        yield
        self.down = False

    def list_objects_v2(self, **wanted: Any) -> Any:
        if self.down:
            raise ConnectionResetError("cut")
        at = datetime(2025, 1, 15, tzinfo=UTC)
        keys = [key for key in self.keys if key > wanted.get("StartAfter", "")]
        return {"Contents": [{"Key": key, "ETag": "e", "Size": 1, "LastModified": at} for key in keys]}


class Log:
    """Materializations."""

    def arrive(self, runtime: Any, count: int) -> None:
        for _ in range(count):
            runtime.materialize(SOURCE)


class Mail:
    """Messages, each of which comes twice."""

    numbers = itertools.count()

    def arrive(self, runtime: Any, count: int) -> None:
        for _ in range(count):
            number = str(next(self.numbers))
            for _ in range(2):
                runtime.sensors.push("contract", "message", message_id=number)


def test_a_folder_s_sensor_keeps_it(tmp_path: Path) -> None:
    sensor_contract(lambda: FileArrival(tmp_path, settle=0), Folder(tmp_path))


def test_a_table_s_sensor_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    world = Table(path)
    sensor_contract(lambda: DatabaseChange(url=f"sqlite:///{path}", table="t", high_water="id", limit=50), world)


@pytest.mark.parametrize("order", ["any", "growing"])
def test_a_bucket_s_sensor_keeps_it(order: str) -> None:
    world = Bucket()
    sensor_contract(lambda: S3FileArrival(bucket="b", client=world, order=order, limit=70), world)


def test_an_asset_s_sensor_keeps_it() -> None:
    sensor_contract(lambda: AssetUpdated(SOURCE), Log(), burst=3)


def test_a_sensor_of_messages_keeps_it() -> None:
    sensor_contract(Push(), Mail(), burst=20)


class Counting(Sensor):
    """Counts what is in the world, with a fault by choice."""

    def __init__(self, world: Any, fault: str = "") -> None:
        self.world, self.fault = world, fault

    def init(self) -> Any:
        return {1: 2} if self.fault == "state" else 0

    def poll(self, state: Any) -> Any:
        if self.world.down:
            return NoTrigger() if self.fault == "calm" else PollError("down")
        there = len(self.world.keys)
        if self.fault == "memory":
            state, self.world.seen = getattr(self.world, "seen", 0), there
        if self.fault == "restless":
            return Trigger(None, state=state)
        first = there - 1 if self.fault == "newest" and there > state else state
        items = [Arrival(None) for _ in range(first, there)]
        return Trigger(*items, state=there) if items else NoTrigger()


def test_a_sensor_of_ones_own_keeps_it() -> None:
    world = Bucket()
    sensor_contract(lambda: Counting(world), world)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("state", "state"),
        ("memory", "an answer that was lost loses nothing"),
        ("newest", "before a restart"),
        ("calm", "a world that fails makes an error"),
        ("restless", "no rest"),
    ],
)
def test_a_broken_rule_is_named(fault: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowstone.testing.contract._MOST_POLLS", 5)
    world = Bucket()
    with pytest.raises(AssertionError, match=text):
        sensor_contract(lambda: Counting(world, fault), world, burst=3)
