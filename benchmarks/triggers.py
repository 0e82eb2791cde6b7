"""Triggers: from a sensor's trigger to the finished run, per second. `python benchmarks/triggers.py [--items N]`

Beside ours, in the same run and on the same disk: a plain sqlite3 loop that makes the same writes in the same three
transactions (the trigger, the claim, the result) one after the other, and Huey's SQLite queue, which keeps no record of
runs. All with synchronous=FULL. Rates depend on the machine; read the ratios. The exit status is 1 when the budget is
missed.
"""

import argparse
import platform
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huey import SqliteHuey

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402

BUDGET = 0.3
SENSORS = 8
BATCH = 50

TRIGGER = (
    "update sensor set cursor = :text, state_version = state_version + 1 where name = 'plain'",
    "insert into evaluation values (:id, :text, :text, 'plain', 'triggered', :text, :text, :text)",
    "insert into run_key values (:text, :text, :text)",
    "insert into run values (:id, :text, :text, 'queued', :text, :text, :text, :text, :text)",
    "insert into materialization values (:id, :text, :text, 'pending', :text, :text)",
)
CLAIM = (
    "update run set status = 'running' where id = :id",
    "update materialization set status = 'running' where id = :id",
)
RESULT = (
    "update materialization set status = 'success', stored = :text where id = :id",
    "insert into asset_event values (:id, :text, :text, :text)",
    "update run set status = 'success' where id = :id",
)
TABLES = """
    create table sensor (name text primary key, cursor text, state_version integer);
    insert into sensor values ('plain', null, 0);
    create table evaluation (id integer primary key, eval_id text unique, eval_key text, sensor text, status text,
        cursor_before text, cursor_after text, at text);
    create unique index settled on evaluation (eval_key);
    create index evaluations on evaluation (sensor, id desc);
    create table run_key (key text primary key, run_id text, fingerprint text);
    create table run (id integer primary key, run_id text unique, run_key text, status text, asset text, partition text,
        fingerprint text, requested_at text, ready_at text);
    create index queue on run (status, ready_at, id);
    create table materialization (id integer primary key, run_id text, asset text, status text, partition text,
        stored text);
    create unique index of_run on materialization (run_id, asset);
    create index of_asset on materialization (asset, partition, status);
    create table asset_event (id integer primary key, asset text, partition text, run_id text);
    create index events on asset_event (asset, partition, id);
"""


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


def ours(folder: Path, items: int, *, each: int) -> float:
    """Items a second through FlowStone: SENSORS sensors polled at the same time, `each` triggers a poll."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.partition, name="item", io_manager="memory")
    names = [f"s{number}" for number in range(SENSORS)]
    for name in names:
        shop.sensor(name, Arrivals(name, each), target="item")
    polls = items // SENSORS // each
    with fs.Runtime(shop, store=f"sqlite:///{folder}/ours-{each}.db") as runtime:
        began = time.perf_counter()
        together([lambda name=name: [runtime.sensors.poll(name) for _ in range(polls)] for name in names])
        runtime.drain()
        took = time.perf_counter() - began
        done = runtime.runs.list(status="success", limit=items + 1)
        assert len(done) == polls * SENSORS * each, f"{len(done)} of {items} runs succeeded"
    return polls * SENSORS * each / took


def plain(folder: Path, items: int) -> float:
    """Items a second of a loop over sqlite3 with the same writes."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.executescript(TABLES)
    began = time.perf_counter()
    for number in range(items):
        values = {"id": number, "text": f"sensor_eval:plain:poll:{number:032}"}
        for transaction in (TRIGGER, CLAIM, RESULT):
            connection.execute("begin immediate")
            for statement in transaction:
                connection.execute(statement, values)
            connection.execute("commit")
    took = time.perf_counter() - began
    connection.close()
    return items / took


def of_huey(folder: Path, items: int) -> float:
    """Items a second of Huey: enqueued and executed, in one process, on its SQLite storage."""
    huey = SqliteHuey(filename=str(folder / "huey.db"), fsync=True, results=False)
    done = threading.Semaphore(0)

    @huey.task()
    def item(name: str) -> None:
        done.release()

    consumer = huey.create_consumer(workers=SENSORS, initial_delay=0.001, backoff=1.0, max_delay=0.01)
    consumer.start()
    began = time.perf_counter()
    for number in range(items):
        item(f"item-{number}")
    for _ in range(items):
        done.acquire()
    took = time.perf_counter() - began
    consumer.stop(graceful=False)
    return items / took


def together(calls: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=4000)
    items = parser.parse_args().items
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, sqlite {sqlite3.sqlite_version}, {items} items")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = plain(folder, items)
        rows = {
            "plain sqlite3 loop, the same writes one by one": base,
            "FlowStone, one trigger a poll": ours(folder, items, each=1),
            f"FlowStone, {BATCH} triggers a poll": ours(folder, items, each=BATCH),
            "Huey, no record of runs": of_huey(folder, items),
        }
    for what, rate in rows.items():
        print(f"{what:50} {rate:9,.0f} a second   {rate / base:5.2f} x the plain loop")
    ratio = rows["FlowStone, one trigger a poll"] / base
    verdict = "met" if ratio >= BUDGET else "MISSED"
    print(f"budget: at least {BUDGET} x the plain loop, one trigger a poll: {ratio:.2f}, {verdict}")
    return 0 if ratio >= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
