"""Children started and stopped ten times: what is left behind, and how long each round takes.

`python benchmarks/actors_children.py [--backend threads] [--children 10000] [--alive 1000] [--rounds 10]`

Each child takes a name, subscribes to a topic and arms a timer. After each round the objects, the resident memory,
the descriptors, the threads, the names and the subscribers of the process are printed. On threads at most `--alive`
children live at once, since each is a thread. The exit status is 1 when the last round ends with more than the second.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

# The file beside this one is named as the package that it measures, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from actors import Actor, ChildSpec, DynamicSupervisor, System  # noqa: E402 - after the path is right

PATIENCE = 600.0
OBJECTS, BLOCKS, RESIDENT, DESCRIPTORS, THREADS = 1_000, 1_000, 32 * 1024, 2, 2
"""How much more may be there after the last round than after the second: the rest of the process lives, too.

The blocks in use tell of a leak; what is resident grows by some rounds' holes in Python's arenas, then stays.
"""


class Left(NamedTuple):
    """What the process holds; `blocks` of Python's allocator in use, `resident` in KiB."""

    objects: int
    blocks: int
    resident: int
    descriptors: int
    threads: int
    names: int
    subscribers: int


class Child(Actor):
    """Takes a name, a subscription and a timer."""

    def init(self, number: int) -> None:
        self.system.registry.register(f"child-{number}", self.ref)
        self.system.pubsub.subscribe("all", self.ref)
        self.send_after(3600, "never")


class Driver(Actor):
    """Starts and stops children in waves, from inside, where the calls cost least."""

    def init(self, children: int, alive: int) -> None:
        self.children, self.alive = children, alive
        self.sup = self.system.start(DynamicSupervisor)

    def receive(self, message: object) -> None:
        for first in range(0, self.children, self.alive):
            wave = range(first, min(first + self.alive, self.children))
            for number in wave:
                self.sup.start_child(ChildSpec(Child, id=str(number), args=(number,)))
            for number in wave:
                self.sup.terminate_child(str(number))


def left(system: System) -> Left:
    """Return what the process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Left(
        len(gc.get_objects()),
        sys.getallocatedblocks(),
        pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
        len(system.registry.names()),
        system.pubsub.subscribers("all"),
    )


def churn(backend: str, children: int, alive: int, rounds: int) -> bool:
    """Start and stop the children, print each round; returns whether nothing is left behind."""
    print(f"{backend}, {children:,} children a round, {min(alive, children):,} alive at once")
    print("round seconds" + "".join(f"{name:>12}" for name in Left._fields))
    rows = []
    with System(backend, blocked_after=None) as system:
        driver = system.start(Driver, children, alive)
        for number in range(rounds):
            began = time.perf_counter()
            driver.ask("round", timeout=PATIENCE)
            system.work.wait_idle(PATIENCE)
            took = time.perf_counter() - began
            rows.append(left(system))
            print(f"{number + 1:5}{took:8.1f}" + "".join(f"{value:12,}" for value in rows[-1]), flush=True)
    first, last = rows[min(1, rounds - 1)], rows[-1]
    return (
        last.objects - first.objects <= OBJECTS
        and last.blocks - first.blocks <= BLOCKS
        and last.resident - first.resident <= RESIDENT
        and last.descriptors - first.descriptors <= DESCRIPTORS
        and last.threads - first.threads <= THREADS
        and all(row.names == row.subscribers == 0 for row in rows)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", choices=["greenlets", "threads"], action="append")
    parser.add_argument("--children", type=int, default=10_000)
    parser.add_argument("--alive", type=int, default=1_000, help="threads at once")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    clean = []
    for backend in options.backend or ["greenlets", "threads"]:
        alive = options.children if backend == "greenlets" else options.alive
        clean.append(churn(backend, options.children, alive, options.rounds))
    print("nothing is left behind" if all(clean) else "something is left behind")
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
