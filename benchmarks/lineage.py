"""Lineage: what an answer costs over many re-runs. `python benchmarks/lineage.py [--edges N]`

A graph of assets in layers, each made from a few of the layer below, is made again and again: the edges grow with each
re-run, the answer stays the same. Beside ours, in the same store: a recursive query over the edges of all runs, which
is what lineage costs without links. Times depend on the machine; read the ratios. The exit status is 1 when an answer
costs more than twice as much after all re-runs as after the first one.
"""

import argparse
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from flowstone.lineage import store  # noqa: E402
from flowstone.lineage.node import Input  # noqa: E402
from flowstone.state.connection import Connection  # noqa: E402
from flowstone.state.database import Database  # noqa: E402

BUDGET = 2.0
LAYERS, WIDTH, NEEDS = 10, 100, 5
ROUNDS = 15
TRANSACTION = 2_000

RECURSIVE = """
    with recursive up (asset, depth) as (
        select :asset, 0
        union
        select e.upstream_asset, up.depth + 1 from up join lineage_edge e on e.asset = up.asset
    ) select asset, min(depth) as depth from up where depth > 0 group by asset
"""


def graph() -> dict[str, list[str]]:
    """The assets, and what each is made from."""
    chance = random.Random(1)
    names = [[f"a{layer}_{number}" for number in range(WIDTH)] for layer in range(LAYERS)]
    needs: dict[str, list[str]] = {name: [] for name in names[0]}
    for below, layer in zip(names, names[1:], strict=False):
        needs |= {name: chance.sample(below, NEEDS) for name in layer}
    return needs


def make_all(database: Database, needs: dict[str, list[str]], rerun: int) -> int:
    """Record one run of everything; how many edges that added."""
    run_id = f"run_{rerun}"
    items = [(asset, [Input(name, "", run_id, str(rerun)) for name in below]) for asset, below in needs.items()]

    def write(some: list[tuple[str, list[Input]]]) -> Callable[[Connection], None]:
        return lambda connection: [store.record(connection, run_id, a, "", read) for a, read in some] and None

    for first in range(0, len(items), TRANSACTION):
        database.transact(write(list(islice(items, first, first + TRANSACTION))))
    return sum(len(below) for below in needs.values())


def timed(database: Database, query: Callable[[Connection], Any], rounds: int = ROUNDS) -> tuple[float, int]:
    """The median of some answers in milliseconds, and the number of rows."""
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = database.read(query)
        spent.append(time.perf_counter() - began)
    return median(spent) * 1000, len(found)


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=100_000, help="edges of all runs together (100000)")
    wanted = parser.parse_args().edges
    needs, top, low = graph(), f"a{LAYERS - 1}_0", "a0_0"
    questions: dict[str, Callable[[Connection], Any]] = {
        f"upstream of {top}": lambda connection: store.upstream(connection, (top, "")),
        f"impact of {low}": lambda connection: store.downstream(connection, (low, "")),
        f"what is right above {low}": lambda connection: store.downstream(connection, (low, ""), 1),
    }
    with tempfile.TemporaryDirectory() as folder, Database.open(f"sqlite:///{folder}/store.db") as database:
        began = time.perf_counter()
        edges, reruns = make_all(database, needs, 0), 1
        first = {name: timed(database, query) for name, query in questions.items()}
        while edges < wanted:
            edges += make_all(database, needs, reruns)
            reruns += 1
        built = time.perf_counter() - began
        last = {name: timed(database, query) for name, query in questions.items()}
        peer = timed(database, lambda connection: connection.execute(RECURSIVE, asset="a2_0"), 3)
        ours = timed(database, lambda connection: store.upstream(connection, ("a2_0", "")), 3)
    print(f"Python {platform.python_version()}, SQLite: {len(needs):,} assets, {edges:,} edges of {reruns} runs")
    print(f"written in {built:.1f} s, {built / (reruns * len(needs)) * 1e6:.0f} µs a success\n")
    print(f"{'question':28} {'rows':>6} {'one run':>10} {'all runs':>10} {'ratio':>6}")
    for name, (after, rows) in last.items():
        before = first[name][0]
        print(f"{name:28} {rows:6} {before:7.2f} ms {after:7.2f} ms {after / before:6.2f}")
    print(f"\nupstream of a2_0, {ours[1]} rows: {ours[0]:.2f} ms; by a recursive query over all edges {peer[0]:.0f} ms")
    return int(any(last[name][0] > BUDGET * first[name][0] for name in questions))


if __name__ == "__main__":
    sys.exit(main())
