"""Isolation: what ill sensors do to the healthy ones. `python benchmarks/isolation.py [--seconds N] [--only-ours]`

1,000 sensors, each polled every 2 s, each poll durable in SQLite with synchronous=FULL: first the 800 healthy ones
alone, then with 200 ill ones beside them, of which 100 hang (more than the runtime's 32 threads for assets, each given
up after 3 s, twice), and the others raise, answer nonsense, or flood: 150 runs a second. Printed are the gaps from poll
to poll of the healthy ones. Beside it APScheduler in memory with as many healthy jobs and its ten threads: alone, with
one job that hangs, and with ten. Rates depend on the machine, and so does the load that it bears: a flood of more runs
than it can execute fills the queue, and then `max_queue` holds up every sensor. The exit status is 1 when the gaps of
ours at p99 are more than `SLACK` longer with the ill ones than without.
"""

import argparse
import gc
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
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402

HEALTHY = 800
INTERVAL = 2.0
TIMEOUT = 3.0
WARM_UP = 4.0
FLOOD = 10
SLACK = 0.5
"""Seconds."""

Calls = list[list[float]]


@dataclass(frozen=True, slots=True)
class Gaps:
    """The seconds from poll to poll of the healthy ones, and the share of the polls due that took place."""

    gaps: list[float]
    share: float
    cpu: float

    @classmethod
    def of(cls, calls: Calls, began: float, ended: float, cpu: float) -> "Gaps":
        """Of the calls of each one within a time; from its last one to the end counts, when that is longer."""
        gaps, count = [], 0
        for times in calls:
            inside = [at for at in times if began <= at <= ended]
            count += len(inside)
            gaps += [later - earlier for earlier, later in zip([began, *inside], inside, strict=False)][1:]
            if not inside or ended - inside[-1] > INTERVAL:
                gaps.append(ended - (inside[-1] if inside else began))
        return cls(gaps, count / (len(calls) * (ended - began) / INTERVAL), cpu)

    @property
    def p99(self) -> float:
        """The gap that one in a hundred exceeds."""
        return statistics.quantiles(self.gaps, n=100)[98]

    def __str__(self) -> str:
        measured = f"p50 {statistics.median(self.gaps):6.3f} s, p99 {self.p99:6.3f} s, max {max(self.gaps):6.3f} s"
        return f"gaps {measured}; {self.share:6.1%} of the polls due, CPU {self.cpu:5.2f} s"


class Healthy(fs.Sensor):
    """Notes when it is polled."""

    def __init__(self, calls: list[float]) -> None:
        self._calls = calls

    def poll(self, state: Any) -> fs.NoTrigger:
        self._calls.append(time.monotonic())
        return fs.NoTrigger(state=(state or 0) + 1)


class Hung(fs.Sensor):
    """Hangs until the end of the benchmark."""

    def __init__(self, end: threading.Event) -> None:
        self._end = end

    def poll(self, state: Any) -> fs.NoTrigger:
        self._end.wait()
        return fs.NoTrigger()


class Raising(fs.Sensor):
    """Raises."""

    def poll(self, state: Any) -> fs.NoTrigger:
        raise ConnectionError("no route to host")


class Flooding(fs.Sensor):
    """Triggers many runs with each poll."""

    def poll(self, state: Any) -> fs.Trigger:
        number = state or 0
        return fs.Trigger(*(f"{number}-{item}" for item in range(FLOOD)), state=number + 1)


class Nonsense(fs.Sensor):
    """Answers what is no answer."""

    def poll(self, state: Any) -> Any:
        return object()


def ill(end: threading.Event) -> dict[str, fs.Sensor]:
    """The sensors that misbehave, by name."""
    kinds = {"hung": 100, "raising": 40, "flooding": 30, "nonsense": 30}
    make: dict[str, Callable[[], fs.Sensor]] = {
        "hung": lambda: Hung(end), "raising": Raising, "flooding": Flooding, "nonsense": Nonsense,
    }  # fmt: skip
    return {f"{kind}_{number}": make[kind]() for kind, count in kinds.items() for number in range(count)}


def ours(folder: Path, seconds: float, *, with_ill: bool) -> Gaps:
    """The gaps of the healthy sensors of FlowStone."""
    shop, end = fs.Pipeline("shop"), threading.Event()
    shop.asset(lambda context: None, name="sink", io_manager="memory")
    calls: Calls = [[] for _ in range(HEALTHY)]
    for number, noted in enumerate(calls):
        shop.sensor(f"healthy_{number}", Healthy(noted), every=INTERVAL, target="sink")
    for name, sensor in ill(end).items() if with_ill else ():
        shop.sensor(name, sensor, every=INTERVAL, target="sink", timeout=TIMEOUT)
    with fs.Runtime(shop, store=f"sqlite:///{folder}/{with_ill}.db") as runtime:
        measured = watched(calls, seconds)
        if with_ill:
            describe(runtime)
        end.set()
    return measured


def describe(runtime: fs.Runtime) -> None:
    """Show that the ill ones were ill."""
    broken = [row for row in runtime.sensors.list() if row.status == "broken"]
    failing = [row for row in runtime.sensors.list() if row.consecutive_failures]
    print(f"  {threading.active_count()} threads, {len(broken)} sensors broken, {len(failing)} failing")


def of_apscheduler(seconds: float, *, hung: int) -> Gaps:
    """The gaps of the healthy jobs of APScheduler, in memory, with default options."""
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler, end = BackgroundScheduler(), threading.Event()
    calls: Calls = [[] for _ in range(HEALTHY)]
    start = datetime.now(UTC)
    for number, noted in enumerate(calls):
        first = start + timedelta(seconds=INTERVAL * number / HEALTHY)
        note = lambda noted=noted: noted.append(time.monotonic())  # noqa: E731 - a function of each job's own
        scheduler.add_job(note, "interval", seconds=INTERVAL, start_date=first)
    for _ in range(hung):
        scheduler.add_job(end.wait, "interval", seconds=INTERVAL, start_date=start)
    scheduler.start()
    measured = watched(calls, seconds)
    end.set()
    scheduler.shutdown(wait=False)
    return measured


def watched(calls: Calls, seconds: float) -> Gaps:
    """The gaps of so many seconds, after a warm-up."""
    wait(WARM_UP)
    gc.collect()
    began, cpu = time.monotonic(), time.process_time()
    wait(seconds)
    return Gaps.of(calls, began, time.monotonic(), time.process_time() - cpu)


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def parts(folder: Path, seconds: float) -> Iterator[tuple[str, Callable[[], Gaps]]]:
    yield "FlowStone, healthy alone", lambda: ours(folder, seconds, with_ill=False)
    yield "FlowStone, 200 ill, 100 of them hung", lambda: ours(folder, seconds, with_ill=True)
    yield "APScheduler, healthy alone", lambda: of_apscheduler(seconds, hung=0)
    yield "APScheduler, 1 hung", lambda: of_apscheduler(seconds, hung=1)
    yield "APScheduler, 10 hung on its 10 threads", lambda: of_apscheduler(seconds, hung=10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only-ours", action="store_true")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {HEALTHY} healthy, every {INTERVAL:g} s")
    p99 = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, measure in parts(Path(scratch), options.seconds):
            if options.only_ours and not name.startswith("FlowStone"):
                break
            measured = measure()
            p99.append(measured.p99)
            print(f"{name:40} {measured}", flush=True)
    held = p99[1] <= p99[0] + SLACK
    print("budgets met" if held else f"budgets MISSED: p99 of the gaps at most {SLACK:g} s longer with the ill ones")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
