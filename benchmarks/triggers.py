"""Triggers: from a sensor's trigger to the finished run, per second. `python benchmarks/triggers.py [--items N]`

Beside ours, in the same run and on the same disk: a plain sqlite3 loop that writes the same rows into the same tables
in the same three transactions (the trigger, the claim, the result) one after the other, and Huey's SQLite queue, which
keeps no record of runs. All with synchronous=FULL; medians of three rounds in turn. DBOS on its SQLite store, which
keeps a record of each workflow, is run by the interpreter of `--peers` (this one by default) where that has it. Rates
depend on the machine; read the ratios. The exit status is 1 when the budget is missed.
"""

import argparse
import hashlib
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huey import SqliteHuey

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402

BUDGET = 0.3
SENSORS = 8
BATCH = 50
ROUNDS = 3
PLAIN = "plain sqlite3 loop, the same writes one by one"
OURS = "FlowStone, one trigger a poll"

TRIGGER = (
    """
    insert into audit (event_type, actor, resource, details, at) values ('sensor.polled', 'root', :sensor, :text, :at)
    """,
    """
    update sensor set cursor = :text, state_version = state_version + 1, consecutive_failures = 0, faults = '[]',
    status = 'active', reason = null, last_evaluation_at = :at, next_poll_at = :at where name = 's0'
    """,
    "insert into run_key (key, generation, run_id, fingerprint, freed) values (:key, 0, :run_id, :hash, false)",
    """
    insert into run (run_id, run_key, generation, status, asset, selection, partition, fingerprint, source_kind,
    source_name, evaluation_id, tags, priority, force, patient, behind, attempt, interruptions, setbacks, requested_at,
    ready_at, fence) values (:run_id, :key, 0, 'queued', 'item', '["item"]', :partition, :hash, 'sensor', 's0',
    :eval_id, '{}', 0, false, true, false, 0, 0, 0, :at, :at, 0)
    """,
    """
    insert into materialization (run_id, asset, partition, status, attempt, failures)
    values (:run_id, 'item', :partition, 'pending', 0, 0)
    """,
    """
    insert into evaluation (eval_id, eval_key, sensor, trigger, status, expected_state_version, state_version_after,
    cursor_before, cursor_after, request_count, duplicate_count, run_ids, at) values (:eval_id, :eval_key, 's0',
    'manual', 'triggered', :number, :number, :text, :text, 1, 0, :text, :at)
    """,
)
CLAIM = (
    "update run set status = 'running', boot = :hash, fence = 1, started_at = :at where run_id = :run_id",
    """
    update materialization set status = 'running', attempt = 1, started_at = :at, ready_at = null, busy = null,
    fence = 1 where run_id = :run_id and asset = 'item'
    """,
)
RESULT = (
    """
    update materialization set status = 'success', completed_at = :at, duration = 0.001, error = null, reason = null,
    stored = :text, data_version = :hash, busy = null where run_id = :run_id and asset = 'item'
    """,
    "insert into asset_event (asset, partition, run_id, at) values ('item', :partition, :run_id, :at)",
    "update run set status = 'success', completed_at = :at, boot = null, attempt = 1 where run_id = :run_id",
)

DBOS = """
import sys, tempfile, time
from dbos import DBOS
with tempfile.TemporaryDirectory() as folder:
    url = f"sqlite:///{folder}/dbos.db"
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
    @DBOS.workflow()
    def item(name):
        return name
    DBOS.launch()
    began = time.perf_counter()
    for handle in [DBOS.start_workflow(item, f"item-{number}") for number in range(int(sys.argv[1]))]:
        handle.get_result()
    took = time.perf_counter() - began
    DBOS.destroy()
print(int(sys.argv[1]) / took)
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


def pipeline(names: list[str], each: int) -> fs.Pipeline:
    """An asset, and sensors that trigger it `each` times a poll."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.partition, name="item", io_manager="memory")
    for name in names:
        shop.sensor(name, Arrivals(name, each), target="item")
    return shop


def ours(folder: Path, items: int, *, each: int) -> float:
    """Items a second through FlowStone: SENSORS sensors polled at the same time, `each` triggers a poll."""
    names = [f"s{number}" for number in range(SENSORS)]
    polls = items // SENSORS // each
    with fs.Runtime(pipeline(names, each), store=f"sqlite:///{folder}/ours-{each}.db") as runtime:
        began = time.perf_counter()
        together([lambda name=name: [runtime.sensors.poll(name) for _ in range(polls)] for name in names])
        runtime.drain()
        took = time.perf_counter() - began
        done = runtime.runs.list(status="success", limit=items + 1)
        assert len(done) == polls * SENSORS * each, f"{len(done)} of {items} runs succeeded"
    return polls * SENSORS * each / took


def plain(folder: Path, items: int) -> float:
    """Items a second of a loop over sqlite3 that writes the same rows into the same tables."""
    with fs.Runtime(pipeline(["s0"], 1), store=f"sqlite:///{folder}/plain.db"):
        """The tables are there, and the row of the sensor."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
    connection.execute("pragma synchronous = full")
    began = time.perf_counter()
    for number in range(items):
        values = row(number)
        for transaction in (TRIGGER, CLAIM, RESULT):
            connection.execute("begin immediate")
            for statement in transaction:
                connection.execute(statement, values)
            connection.execute("commit")
    took = time.perf_counter() - began
    connection.close()
    return items / took


def row(number: int) -> dict[str, object]:
    """Values as long as FlowStone's, of one item."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {
        "number": number,
        "sensor": "sensor:s0",
        "text": f'{{"state":{number},"type":"Arrivals","v":1}}',
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "key": f"sensor:s0:eval_{digest[:26]}:0",
        "run_id": f"run_{digest[:26]}",
        "eval_id": f"eval_{digest[:26]}",
        "eval_key": f"sensor_eval:s0:poll:{digest[:32]}:{digest}",
        "hash": digest,
        "partition": f"s0-{number}",
    }


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


def of_dbos(python: str, items: int) -> float | str:
    """Workflows a second of DBOS, started one by one and waited for; or why there is no number."""
    ran = subprocess.run([python, "-c", DBOS, str(items)], capture_output=True, text=True, timeout=300)
    if ran.returncode:
        return "not installed" if "ModuleNotFoundError" in ran.stderr else ran.stderr.strip().splitlines()[-1]
    return float(ran.stdout.strip().splitlines()[-1])


def together(calls: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="which has DBOS")
    options = parser.parse_args()
    items = options.items
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, sqlite {sqlite3.sqlite_version}, {items} items")
    works: dict[str, Callable[[Path], float]] = {
        PLAIN: lambda folder: plain(folder, items),
        OURS: lambda folder: ours(folder, items, each=1),
        f"FlowStone, {BATCH} triggers a poll": lambda folder: ours(folder, items, each=BATCH),
        "Huey, no record of runs": lambda folder: of_huey(folder, items),
    }
    rates: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(ROUNDS):
        for what, work in works.items():
            with tempfile.TemporaryDirectory() as scratch:
                rates[what].append(work(Path(scratch)))
    rows = {what: statistics.median(each) for what, each in rates.items()}
    base = rows[PLAIN]
    for what, rate in rows.items():
        print(f"{what:50} {rate:9,.0f} a second   {rate / base:5.2f} x the plain loop")
    found = of_dbos(options.peers, min(items, 300))
    told = f"{found:9,.0f} a second   {found / base:5.2f} x the plain loop" if isinstance(found, float) else found
    print(f"{'DBOS, a record of each workflow':50} {told}")
    ratio = rows[OURS] / base
    verdict = "met" if ratio >= BUDGET else "MISSED"
    print(f"budget: at least {BUDGET} x the plain loop, one trigger a poll: {ratio:.2f}, {verdict}")
    return 0 if ratio >= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
