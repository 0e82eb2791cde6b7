"""The performance: files arrive, FlowStone works, two actors are crashed, another process proves what is stored."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

from actors import ActorRef
from actors.testing import crash
from flowstone.config import Config
from flowstone.demo.accident import PATIENCE, Accident
from flowstone.demo.pipeline import PATTERN, weather
from flowstone.demo.place import Place
from flowstone.demo.progress import Watch
from flowstone.demo.weather import Day, Station
from flowstone.errors import ExecutionError, ValidationError, ValueNotFound
from flowstone.runtime import Runtime
from flowstone.state.database import Database

__all__ = ["perform"]

SECONDS = 5.0
"""How long all of the shipped files take to arrive."""

ARRIVED = "select distinct substr(partition, 3) as day from run where source_name = 'station'"


class Stored:
    """What the demo's assets read of each other, through the runtime that they run in."""

    runtime: Runtime

    def partitions(self, asset: str) -> list[date]:
        """The partitions of an asset that have a value."""
        rows = self.runtime.materializations.list(asset=asset, status="success")
        return sorted({row.partition for row in rows if isinstance(row.partition, date)})

    def find(self, asset: str, partition: date) -> Any:
        """The value of one partition; None when there is none."""
        try:
            return self.runtime.get(asset, partition=partition)
        except ValueNotFound:
            return None


def perform(store: str | None, folder: Path | None, *, live: bool = True) -> dict[str, Any]:
    """Plays the demo once and gives the proof that another process made; `live` shows progress.

    Raises:
        ValidationError: the store or the folder is of no use to the demo.
        FlowstoneError: what the runtime raises, such as StoreLocked.
    """
    with ExitStack() as resources:
        place = Place.of(store, folder, resources)
        station = Station(place.folder)
        coming = station.missing()
        due = _due(place, coming)
        accident = Accident(due[2 * len(due) // 3] if due else None)
        stored = Stored()
        pipeline = weather(place.folder, stored, read=accident.read)
        stored.runtime = Runtime(pipeline, store=place.store, config=Config())
        with stored.runtime, _watch(place, coming, live=live) as watch:
            play(stored.runtime, station, coming, accident, watch.say)
        return prove(place)


def play(
    runtime: Runtime, station: Station, coming: list[Day], accident: Accident, say: Callable[[str], None]
) -> None:
    """Lets the files arrive, crashes a sensor's actor and a materializer on the way, and waits for all work to end."""
    crashes = Crashes(runtime, accident, say)
    began, step = time.monotonic(), SECONDS / max(1, len(coming))
    never = threading.Event()
    arriving = station.deliver(coming, lambda n: never.wait(max(0.0, began + n * step - time.monotonic())))
    for number, _ in enumerate(arriving):
        if number >= len(coming) // 3:
            crashes.sensor()
        crashes.materializer(wait=False)
    crashes.sensor()
    runtime.sensors.poll("station")
    crashes.materializer(wait=True)
    runtime.drain()
    runtime.sensors.poll("grown_months")
    runtime.drain()
    runtime.schedules.trigger("each_second")
    runtime.drain()


class Crashes:
    """The two crashes on purpose, each done once, and only when there is work to disturb."""

    def __init__(self, runtime: Runtime, accident: Accident, say: Callable[[str], None]) -> None:
        self.runtime = runtime
        self.accident = accident
        self.say = say
        self.done: set[str] = set()

    def sensor(self) -> None:
        """Crashes the actor of the sensor `station`; its supervisor starts another, which reads its cursor back."""
        if self.accident.day and "sensor" not in self.done:
            self.done.add("sensor")
            _crash(self.runtime.sensors.ref("station"))
            self.say("crashed on purpose: the actor of sensor [bold]station[/]")

    def materializer(self, *, wait: bool) -> None:
        """Crashes the actor that works on the chosen day; its run is put back and taken up by another."""
        if "materializer" in self.done or not self.accident.ready(PATIENCE if wait else 0.0):
            return
        self.done.add("materializer")
        (row,) = self.runtime.materializations.list(asset="day", partition=self.accident.day, status="running")
        _crash(self.runtime.actor("services", "runs", "materializers", row.run_id))
        self.accident.over()
        self.say(f"crashed on purpose: the materializer of day [bold]{self.accident.day}[/]")


def _crash(ref: ActorRef) -> None:
    # The log's account of a crash that was wanted would only tear the progress apart; the store tells it at the end.
    log = logging.getLogger("actors")
    log.disabled = True
    try:
        crash(ref, RuntimeError("crashed on purpose"))
    finally:
        log.disabled = False


def prove(place: Place) -> dict[str, Any]:
    """What another process reads from the store.

    Raises:
        ExecutionError: that process failed.
    """
    command = [sys.executable, "-m", "flowstone.demo.proof", place.store, str(place.folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ExecutionError(f"the proof failed: {ran.stderr.strip().splitlines()[-1:] or ran.returncode}")
    proof: dict[str, Any] = json.loads(ran.stdout)
    return proof


def _due(place: Place, coming: list[Day]) -> list[str]:
    """The days that the sensor has not seen yet: files that are there, then files that will come."""
    there = sorted(path.stem for path in place.folder.glob(PATTERN))
    _check_dates(there)
    if not there and not coming:
        raise ValidationError(f"expected files such as 2025-01-31.csv in {place.folder}, got none")
    with Database.open(place.store, exclusive=False) as database:
        known = {row.day for row in database.read(lambda connection: connection.execute(ARRIVED))}
    return [day for day in there if day not in known] + [str(day.date) for day in coming]


def _check_dates(days: list[str]) -> None:
    for day in days:
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise ValidationError(f"expected {day}.csv to be named after a day: {error}") from None


def _watch(place: Place, coming: list[Day], *, live: bool) -> Watch:
    days = [path.stem for path in place.folder.glob(PATTERN)] + [str(day.date) for day in coming]
    return Watch(place.store, days=len(days), months=len({day[:7] for day in days}), live=live)
