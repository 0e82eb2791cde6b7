"""Assets: what FlowStone adds to a function that is made, in milliseconds an asset. `python benchmarks/assets.py`

A chain of 100, a fan-out of 1,000 and 10,000 single runs (`--runs N`), durable on SQLite with synchronous=FULL and on
`memory://`; planning a graph of 10,000 assets. Beside them, in the same run: plain function calls, and Dagster's
in-process `materialize`, Luigi and Prefect where the interpreter of `--peers` (this one by default) has them; one that
is missing is named. Values are small and stay in memory, so that the numbers are of the engine alone.

`--memory N` makes N more single runs and tells how much the process has grown. The exit status is 1 when a budget is
missed. Times depend on the machine; read the ratios.
"""

from __future__ import annotations

import argparse
import gc
import platform
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402
from flowstone.core.asset import Asset  # noqa: E402
from flowstone.core.catalog import Catalog  # noqa: E402
from flowstone.core.run import MaterializationStatus  # noqa: E402
from flowstone.runs.plan import AssetState, plan  # noqa: E402

CHAIN, FAN, PLANNED, ASKERS = 100, 1_000, 10_000, 8
BUDGETS = {"durable": 1.5, "memory": 0.3}
"""Milliseconds an asset."""
PLANNING = 200.0
"""Milliseconds for a graph of PLANNED assets."""
GROWTH = 50.0
"""Megabytes for `--memory` runs."""

PEERS = {
    "Dagster, chain of 20, in-process materialize": """
import time, logging
import dagster
def made(number):
    @dagster.asset(name=f"a{number}", deps=[f"a{number - 1}"] if number else [])
    def each(): return number
    return each
assets = [made(number) for number in range(20)]
dagster.materialize(assets[:1])
began = time.perf_counter()
assert dagster.materialize(assets).success
print((time.perf_counter() - began) * 1000 / 20)
""",
    "Luigi, chain of 100, nothing recorded": """
import time, logging, luigi
done = set()
class Each(luigi.Task):
    number = luigi.IntParameter()
    def requires(self): return [Each(number=self.number - 1)] if self.number else []
    def complete(self): return self.number in done
    def run(self): done.add(self.number)
began = time.perf_counter()
assert luigi.build([Each(number=99)], local_scheduler=True, log_level="CRITICAL")
print((time.perf_counter() - began) * 1000 / 100)
""",
    "Prefect, flow of 20 tasks": """
import os, time, tempfile
os.environ["PREFECT_HOME"] = tempfile.mkdtemp()
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
from prefect import flow, task
@task
def each(number): return number
@flow
def chain():
    value = 0
    for _ in range(20): value = each(value)
    return value
chain()
began = time.perf_counter()
chain()
print((time.perf_counter() - began) * 1000 / 20)
""",
}


def pipeline() -> fs.Pipeline:
    """A chain, a fan, and one asset by itself."""
    made = fs.Pipeline("bench")
    for number in range(CHAIN):
        needs = [f"chain{number - 1}"] if number else []
        made.asset(_next, name=f"chain{number}", depends_on=needs, tags={"shape": "chain"})
    made.asset(_next, name="root", depends_on=[], tags={"shape": "fan"})
    for number in range(FAN):
        made.asset(_next, name=f"leaf{number}", depends_on=["root"], tags={"shape": "fan"})
    made.asset(lambda context: 1, name="single")
    return made


def _next(context: Any, deps: Any) -> int:
    return 1


def plain_calls() -> float:
    """Milliseconds for a function that gets its context and its dependencies."""
    began = time.perf_counter()
    for _ in range(100_000):
        _next(None, {})
    return (time.perf_counter() - began) * 1000 / 100_000


def timed(call: Callable[[], Any], number: int) -> float:
    """Milliseconds of each of `number` assets."""
    gc.collect()
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000 / number


def ours(url: str, runs: int) -> dict[str, float]:
    """Milliseconds an asset, by shape."""
    with fs.Runtime(pipeline(), store=url, io_manager="memory", scheduler=False, sensors=False) as runtime:
        runtime.materialize("single", partition="warm")
        runtime.materialize(f"+chain{CHAIN - 1}", partition="warm")
        return {
            f"chain of {CHAIN}": timed(lambda: runtime.materialize(f"+chain{CHAIN - 1}"), CHAIN),
            f"fan-out of {FAN:,}": timed(lambda: runtime.materialize("root+"), FAN + 1),
            f"{runs:,} single runs": timed(lambda: singles(runtime, runs), runs),
        }


def singles(runtime: fs.Runtime, number: int, first: int = 0) -> None:
    """So many runs of one asset, asked for one by one, each durable before the next, by ASKERS threads."""

    def ask(share: int) -> None:
        for partition in range(first + share, first + number, ASKERS):
            runtime.materialize_async("single", partition=partition)

    threads = [threading.Thread(target=ask, args=(share,)) for share in range(ASKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runtime.drain()


def planning() -> float:
    """Milliseconds to resolve and plan a graph: ten layers, each asset made from three of the layer above."""
    wide = PLANNED // 10
    names = [f"a{number}" for number in range(PLANNED)]
    assets = [
        Asset(
            _next,
            name=name,
            depends_on=[names[number - wide + (number + step) % 3] for step in range(3)] if number >= wide + 3 else [],
        )
        for number, name in enumerate(names)
    ]
    began = time.perf_counter()
    catalog = Catalog(assets)
    selection = catalog.select("*")
    states = {name: AssetState(MaterializationStatus.PENDING) for name in selection}
    plan({name: catalog.graph.dependencies(name) for name in selection}, states, datetime.now(UTC))
    return (time.perf_counter() - began) * 1000


def growth(number: int) -> float:
    """Megabytes that a process has grown by after so many runs, once it is warm."""
    with fs.Runtime(pipeline(), store="memory://", io_manager="memory", scheduler=False, sensors=False) as runtime:
        singles(runtime, 5_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(0, number, 5_000):
            # The same partitions again: values and partitions are the user's, and would grow with them.
            singles(runtime, 5_000)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def peer(python: str, program: str) -> float | str:
    """Milliseconds an asset, or why there is no number."""
    ran = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=300)
    if ran.returncode:
        return "not installed" if "ModuleNotFoundError" in ran.stderr else ran.stderr.strip().splitlines()[-1]
    return float(ran.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="which has Dagster, Luigi, Prefect")
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="watch the memory over N runs")
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, sqlite {sqlite3.sqlite_version}")
    print(f"{'plain function calls':50} {plain_calls():9.5f} ms")
    met = True
    with tempfile.TemporaryDirectory() as scratch:
        for kind, url in {"durable": f"sqlite:///{scratch}/store.db", "memory": "memory://"}.items():
            for shape, cost in ours(url, options.runs).items():
                good = cost <= BUDGETS[kind]
                met = met and good
                verdict = "met" if good else "MISSED"
                print(f"{f'FlowStone, {kind}, {shape}':50} {cost:9.3f} ms an asset   budget {BUDGETS[kind]}, {verdict}")
    planned = planning()
    met = met and planned <= PLANNING
    verdict = "met" if planned <= PLANNING else "MISSED"
    print(f"{f'planning {PLANNED:,} assets':50} {planned:9.1f} ms            budget {PLANNING:g}, {verdict}")
    for name, program in PEERS.items():
        found = peer(options.peers, program)
        print(f"{name:50} {found:9.3f} ms an asset" if isinstance(found, float) else f"{name:50} {found}")
    if options.memory:
        grown = growth(options.memory)
        met = met and grown <= GROWTH
        print(f"{f'memory over {options.memory:,} runs':50} {grown:9.1f} MB more, budget {GROWTH:g}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
