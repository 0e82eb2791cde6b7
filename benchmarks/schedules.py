"""Schedules: 1,000 of them, each every second, beside APScheduler. `python benchmarks/schedules.py [--seconds N]`

For each scheduler: the share of the due ticks that fired (or, ours, left a row that says why not), how late they were,
and the CPU that it took. Ours is durable: each tick is a row and a run in SQLite with synchronous=FULL, and the run's
asset is executed. APScheduler runs once in memory, where nothing is durable, and once on its own SQLite store. A last
part stores 100,000 schedules and starts a runtime on them. Rates depend on the machine. The exit status is 1 when a
budget is missed.
"""

import argparse
import contextlib
import logging
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402
from flowstone.schedules.store import register  # noqa: E402
from flowstone.state.database import Database  # noqa: E402

SCHEDULES = 1_000
STORED = 100_000
P99_BUDGET = 0.100
START_BUDGET = 3.0
WARM_UP = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one scheduler did: the share of due ticks that are accounted for, lateness and CPU in seconds."""

    share: float
    lateness: list[float]
    cpu: float

    def __str__(self) -> str:
        if not self.lateness:
            return f"{self.share:7.1%} accounted for, CPU {self.cpu:5.2f} s"
        p50, p99 = statistics.median(self.lateness), statistics.quantiles(self.lateness, n=100)[98]
        late = f"late p50 {p50 * 1000:7.1f} ms, p99 {p99 * 1000:7.1f} ms"
        return f"{self.share:7.1%} accounted for, {late}, CPU {self.cpu:5.2f} s"

    @property
    def p99(self) -> float:
        """The lateness that one in a hundred exceeds, in seconds."""
        return statistics.quantiles(self.lateness, n=100)[98]


def ours(folder: Path, seconds: float) -> Measured:
    """FlowStone on a SQLite file, every tick a row and an executed run."""
    shop = fs.Pipeline("shop")
    for number in range(SCHEDULES):
        shop.asset(lambda context: None, name=f"a{number}", io_manager="memory")
        shop.schedule(f"a{number}", every="1s", overlap="allow")
    with fs.Runtime(shop, store=f"sqlite:///{folder}/ours.db"):
        wait(WARM_UP)
        began, cpu = datetime.now(UTC), time.process_time()
        wait(seconds)
        ended, cpu = datetime.now(UTC), time.process_time() - cpu
        wait(1.0)
    with Database.open(f"sqlite:///{folder}/ours.db", exclusive=False) as database:
        sql = "select scheduled_for, at, count from tick where scheduled_for > :began and scheduled_for <= :ended"
        ticks = database.read(lambda connection: connection.execute(sql, began=began, ended=ended))
    lateness = [(parsed(row.at) - parsed(row.scheduled_for)).total_seconds() for row in ticks]
    return Measured(sum(row.count for row in ticks) / due(began, ended), lateness, cpu)


def of_apscheduler(seconds: float, url: str | None) -> Measured:
    """APScheduler 3 with default options, in memory or on its SQLite store."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    stores = {} if url is None else {"default": SQLAlchemyJobStore(url=url)}
    scheduler = BackgroundScheduler(jobstores=stores, job_defaults={"misfire_grace_time": 30, "coalesce": False})
    late: list[tuple[float, float]] = []

    def executed(event: object) -> None:
        due_at = event.scheduled_run_time.timestamp()  # type: ignore[attr-defined]
        late.append((due_at, time.time() - due_at))

    scheduler.add_listener(executed, EVENT_JOB_EXECUTED)
    start = datetime.now(UTC) + timedelta(seconds=WARM_UP)
    for number in range(SCHEDULES):
        scheduler.add_job(nothing, "interval", seconds=1, start_date=start, id=str(number), max_instances=10)
    scheduler.start()
    wait(WARM_UP)
    began, cpu = time.time(), time.process_time()
    wait(seconds)
    ended, cpu = time.time(), time.process_time() - cpu
    wait(1.0)
    with contextlib.suppress(Exception):
        scheduler.shutdown(wait=False)
    seen = [lateness for due_at, lateness in late if began < due_at <= ended]
    return Measured(len(seen) / (SCHEDULES * seconds), seen, cpu)


def start_on_many(folder: Path) -> tuple[float, float]:
    """The seconds to store many schedules, and to start a runtime on them afterwards."""
    url = f"sqlite:///{folder}/many.db"
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="tick")
    crons = [f"{number % 60} {number % 24} * * *" for number in range(STORED)]
    schedules = [fs.Schedule(f"s{number}", cron=cron, target="tick") for number, cron in enumerate(crons)]
    began = time.perf_counter()
    with Database.open(url) as database:
        database.transact(lambda connection: register(connection, schedules, datetime.now(UTC)))
    stored = time.perf_counter() - began
    shop.add(*schedules)
    began = time.perf_counter()
    with fs.Runtime(shop, store=url) as runtime:
        runtime.actor("services", "scheduler").describe()
        return stored, time.perf_counter() - began


def nothing() -> None:
    """What APScheduler's jobs do."""


def parsed(text: str) -> datetime:
    return datetime.fromisoformat(text)


def due(began: datetime, ended: datetime) -> int:
    """How many ticks were due after `began` and up to `ended`."""
    return SCHEDULES * (int(ended.timestamp()) - int(began.timestamp()))


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def parts(folder: Path, seconds: float) -> Iterator[tuple[str, Callable[[], Measured]]]:
    yield "FlowStone, SQLite, durable, executed", lambda: ours(folder, seconds)
    yield "APScheduler, memory, nothing durable", lambda: of_apscheduler(seconds, None)
    yield "APScheduler, its SQLite store", lambda: of_apscheduler(seconds, f"sqlite:///{folder}/aps.db")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only-ours", action="store_true")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {SCHEDULES} schedules each second")
    missed = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, measure in parts(Path(scratch), options.seconds):
            measured = measure()
            print(f"{name:40} {measured}", flush=True)
            if name.startswith("FlowStone") and (measured.share < 1 or measured.p99 > P99_BUDGET):
                missed.append(f"all accounted for, p99 under {P99_BUDGET * 1000:.0f} ms")
            if options.only_ours:
                break
        stored, started = start_on_many(Path(scratch))
    print(f"{STORED:,} schedules: stored in {stored:.1f} s, a runtime on them started in {started:.1f} s")
    if started > START_BUDGET:
        missed.append(f"start on {STORED:,} schedules under {START_BUDGET:.0f} s")
    print("budgets met" if not missed else f"budgets MISSED: {'; '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
