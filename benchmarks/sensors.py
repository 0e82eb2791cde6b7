"""Sensors: 10,000 of them, each polled every 10 s. `python benchmarks/sensors.py [--seconds N] [--burst]`

For each scheduler: how late the polls came, the share of those due that took place, the CPU of a minute, and the bytes
of a sensor. Ours is durable: each poll has its evaluation, its cursor and its state version in SQLite with
synchronous=FULL. Beside it APScheduler with as many jobs in memory, where nothing is durable. The sensors are added
one by one over 10 s, so that their polls are spread; with `--burst` a third part has them all due at the same instant,
as they are after a start. Each part has a process of its own. Rates depend on the machine. The exit status is 1 when
fewer than all polls took place.
"""

import argparse
import gc
import logging
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.background import BackgroundScheduler

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402
from flowstone.state.database import Database  # noqa: E402

SENSORS = 10_000
INTERVAL = 10.0
ENOUGH = 0.999
"""The share of the polls due that has to take place: one at the edge of the time measured counts on either side."""

Polls = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one scheduler did: how late polls were, the share of those due, CPU seconds, bytes of a sensor."""

    lateness: list[float]
    share: float
    cpu_minute: float
    size: float

    def __str__(self) -> str:
        cuts = statistics.quantiles(self.lateness, n=100)
        late = f"late p50 {cuts[49] * 1000:7.1f} ms, p99 {cuts[98] * 1000:7.1f} ms"
        return f"{self.share:6.1%} polled, {late}, CPU {self.cpu_minute:5.1f} s a minute, {self.size:,.0f} bytes each"


class Quiet(fs.Sensor):
    """Notes when it is polled, by the wall clock."""

    def __init__(self, noted: list[float]) -> None:
        self._noted = noted

    def poll(self, state: Any) -> fs.NoTrigger:
        self._noted.append(time.time())
        return fs.NoTrigger(state=(state or 0) + 1)


def ours(folder: Path, seconds: float, *, burst: bool) -> Measured:
    """FlowStone on a SQLite file."""
    url, shop = f"sqlite:///{folder}/{burst}.db", fs.Pipeline("shop")
    noted: dict[str, list[float]] = {f"s{number}": [] for number in range(SENSORS)}
    shop.asset(lambda context: None, name="sink")
    for name, times in noted.items() if burst else ():
        shop.sensor(name, Quiet(times), every=INTERVAL, target="sink")
    before = resident()
    with fs.Runtime(shop, store=url) as runtime:
        if not burst:
            added(runtime, noted)
        anchors = first_polls(url)
        wait(max(0.0, max(anchors.values()) - time.time()) + 1.0)
        size = (resident() - before) / SENSORS
        began, cpu = time.time(), time.process_time()
        wait(seconds)
        ended, cpu = time.time(), time.process_time() - cpu
        wait(INTERVAL / 2 if burst else 1.0)
    polls = [(at, (at - anchors[name]) % INTERVAL) for name, times in noted.items() for at in times]
    return measured(polls, began, ended, cpu, size)


def first_polls(url: str) -> dict[str, float]:
    """When each sensor is polled by the timer for the first time; the later ones follow on its grid."""
    with Database.open(url, exclusive=False) as database:
        rows = database.read(lambda connection: connection.execute("select name, created_at from sensor"))
    return {row.name: datetime.fromisoformat(row.created_at).timestamp() + INTERVAL for row in rows}


def of_apscheduler(seconds: float) -> Measured:
    """APScheduler 3 with default options, in memory."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler, polls = BackgroundScheduler(), []

    def executed(event: Any) -> None:
        now = time.time()
        polls.append((now, now - event.scheduled_run_time.timestamp()))

    scheduler.add_listener(executed, EVENT_JOB_EXECUTED)
    before, start = resident(), datetime.now(UTC) + timedelta(seconds=INTERVAL)
    for number in range(SENSORS):
        first = start + timedelta(seconds=INTERVAL * number / SENSORS)
        scheduler.add_job(nothing, "interval", seconds=INTERVAL, start_date=first)
    scheduler.start()
    wait(max(0.0, start.timestamp() - time.time()) + INTERVAL)
    size = (resident() - before) / SENSORS
    began, cpu = time.time(), time.process_time()
    wait(seconds)
    ended, cpu = time.time(), time.process_time() - cpu
    scheduler.shutdown(wait=False)
    return measured(polls, began, ended, cpu, size)


def measured(polls: Polls, began: float, ended: float, cpu: float, size: float) -> Measured:
    """What the polls due within a time came to."""
    lateness = [late for at, late in polls if began <= at - late < ended]
    share = len(lateness) / (SENSORS * (ended - began) / INTERVAL)
    return Measured(lateness, share, cpu * 60 / (ended - began), size)


def added(runtime: fs.Runtime, noted: dict[str, list[float]]) -> None:
    """Add the sensors one by one, over an interval."""
    began = time.monotonic()
    for place, (name, times) in enumerate(noted.items()):
        wait(max(0.0, began + place * INTERVAL / SENSORS - time.monotonic()))
        runtime.sensors.add(name, Quiet(times), every=INTERVAL, target="sink")


def resident() -> int:
    """The bytes of memory that the process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def nothing() -> None:
    """What APScheduler's jobs do."""


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def parts(folder: Path, seconds: float, *, burst: bool) -> Iterator[tuple[str, Callable[[], Measured]]]:
    yield "FlowStone, SQLite, durable", partial(ours, folder, seconds, burst=False)
    if burst:
        yield "FlowStone, all due at once", partial(ours, folder, seconds, burst=True)
    yield "APScheduler, memory, nothing durable", partial(of_apscheduler, seconds)


def alone(measure: Callable[[], Measured]) -> Measured:
    """What is measured in a process of its own, whose memory nobody has used before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure).result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--burst", action="store_true")
    parser.add_argument("--only-ours", action="store_true")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {SENSORS:,} sensors every {INTERVAL:g} s")
    missed = False
    with tempfile.TemporaryDirectory() as scratch:
        for name, measure in parts(Path(scratch), options.seconds, burst=options.burst):
            if options.only_ours and not name.startswith("FlowStone"):
                break
            done = alone(measure)
            missed |= name.startswith("FlowStone") and done.share < ENOUGH
            print(f"{name:37} {done}", flush=True)
    print("budgets MISSED: all polls due take place" if missed else "budgets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
