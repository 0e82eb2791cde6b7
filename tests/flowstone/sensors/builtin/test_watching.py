"""A wake-up from the file system: what comes into a folder is told, our own look at it is not."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from flowstone.errors import ConfigError, ValidationError
from flowstone.sensors import FileArrival, SensorSpec
from flowstone.sensors.watching import FolderWatch


class Woken:
    """Surroundings that count wake-ups."""

    def __init__(self) -> None:
        self.wakes = threading.Semaphore(0)

    def wake(self) -> None:
        self.wakes.release()


def test_a_folder_that_changes_wakes_even_after_it_vanished(tmp_path: Path) -> None:
    folder, around = tmp_path / "inbox", Woken()
    given = FileArrival(folder, watch=True, settle=0)
    sensor = given.within(around)  # type: ignore[arg-type]  # as far as it is used
    state = given.init()
    given.poll(state)
    for round in range(2):
        sensor.poll(state)
        folder.mkdir()
        sensor.poll(state)
        sensor.poll(state)
        (folder / "a.csv").write_text("1")
        assert around.wakes.acquire(timeout=10)
        (folder / "a.csv").unlink()
        folder.rename(tmp_path / f"away{round}")
    sensor.cleanup(state)
    FolderWatch("/nowhere", recursive=False).follow("1:1", around.wake)


def test_our_own_look_is_no_change() -> None:
    around = Woken()
    watch = FolderWatch("/", recursive=False)
    watch._wake = around.wake
    event: Any = type("Event", (), {"event_type": "opened"})()
    watch.dispatch(event)
    assert not around.wakes.acquire(blocking=False)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchdog.observers", None)
    with pytest.raises(ConfigError, match="watch"):
        FolderWatch(str(tmp_path), recursive=False).follow("1:1", Woken().wake)


def test_watch_is_true_or_false(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="watch"):
        FileArrival(tmp_path, watch="yes")  # type: ignore[arg-type]  # what the test is about


def test_a_watched_folder_under_a_runtime(tmp_path: Path, room: Any) -> None:
    committed = threading.Semaphore(0)
    sensor = FileArrival(tmp_path / "inbox", watch=True, settle=0, partition=lambda path: None)
    (tmp_path / "inbox").mkdir()
    room.open(SensorSpec("orders", sensor, every="1h", target="raw"))
    room.system.pubsub.subscribe("sensors", lambda message: committed.release())
    room.sensors.poll("orders")
    (tmp_path / "new").write_text("1")
    (tmp_path / "new").rename(tmp_path / "inbox" / "a.csv")
    assert committed.acquire(timeout=10)
