"""Actors: both backends beside pykka's threads, asyncio and thespian in the same run.

`python benchmarks/actors.py [--quick] [--many]`

What it asks: how fast messages are told and asked (inside a hub and from another thread), actors started, one restarted
after a crash, one message fanned out to 10,000; what an idle actor costs; how punctual 10,000 timers are; and whether
actors go on while one of them waits. Rates depend on the machine; read the ratios. `--many` starts 100,000 actors too.
The exit status is 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# This file is named as the package that it measures, and Python looks beside a script first: here it looks there last.
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

from actors import Actor, ChildSpec, DynamicSupervisor, Supervisor, System  # noqa: E402 - after the path is right
from actors.messages import Crash  # noqa: E402

sys.path.append(str(HERE))
from actors_peers import (  # noqa: E402
    THESPIAN_BASES,
    Contestant,
    PykkaEcho,
    of_asyncio,
    of_pykka,
    of_thespian,
    timed,
)

ROUNDS = 7
COUNTS = {
    "tell inside": 30_000,
    "tell across": 30_000,
    "ask inside": 10_000,
    "ask across": 3_000,
    "spawn": 1_000,
    "spawn across": 1_000,
}
BUDGETS = {"tell inside": 1.5, "tell across": 1.5, "ask inside": 8.0, "ask across": 1.5, "spawn": 5.0}
"""How often as fast as pykka's threads."""
MEMORY_BUDGET = 12_000
RESTART_BUDGET = 0.001
TIMERS, INTERVAL, SHARE_BUDGET, LATENESS_BUDGET = 10_000, 0.1, 0.95, 0.020


class Echo(Actor):
    """Answers what it is asked."""

    def receive(self, message: Any) -> Any:
        return message


class Runner(Actor):
    """Runs a function in an actor, for what is measured inside the hub."""

    def receive(self, message: Callable[[], Any]) -> Any:
        return message()


def best_rate(count: int, work: Callable[[], object]) -> float:
    """Return how many a second, the best of some rounds: others on the machine only ever slow things down."""
    best = 0.0
    for _ in range(ROUNDS):
        gc.collect()
        began = time.perf_counter()
        work()
        best = max(best, count / (time.perf_counter() - began))
    return best


def of_system(backend: str) -> Contestant:
    """Return one of our backends."""
    system = System(backend)
    ref, inside = system.start(Echo), system.start(Runner)

    def tell(count: int) -> float:
        return timed(lambda: ([ref.tell(number) for number in range(count)], ref.ask(0)))

    def ask(count: int) -> float:
        return timed(lambda: [ref.ask(number) for number in range(count)])

    def spawn(count: int) -> float:
        refs: list[Any] = []
        took = timed(lambda: refs.extend(system.start(Echo) for _ in range(count)))
        for each in refs:
            each.stop()
        return took

    works = {
        "tell inside": lambda count: inside.ask(lambda: tell(count)),
        "tell across": tell,
        "ask across": ask,
        "ask inside": lambda count: inside.ask(lambda: ask(count)),
        "spawn": lambda count: inside.ask(lambda: spawn(count)),
        "spawn across": spawn,
    }
    return Contestant(backend, works, system.stop)


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(kind: str, count: int) -> float:
    """Return the bytes that one more idle actor costs; in this process, so ask a fresh one."""
    if kind == "pykka threads":
        PykkaEcho.start()
        before = resident()
        refs: list[Any] = [PykkaEcho.start() for _ in range(count)]
    else:
        system = System(kind)
        runner = system.start(Runner)
        runner.ask(lambda: [system.start(Echo) for _ in range(100)])
        gc.collect()
        before = resident()
        refs = runner.ask(lambda: [system.start(Echo) for _ in range(count)])
    each = (resident() - before) / len(refs)
    print(each, flush=True)
    os._exit(0)


def memory_of(kind: str, count: int) -> float:
    """Return what `memory` measures, from a fresh process."""
    command = [sys.executable, __file__, "--memory", kind, "--count", str(count)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def restart_latency(backend: str) -> float:
    """Return the median seconds from a crash to the successor's first answer."""
    with System(backend) as system:
        sup = system.start(Supervisor, children=[ChildSpec(Echo, id="a")], max_restarts=10**6)
        ref, taken = sup.child("a"), []

        def once() -> None:
            began = time.perf_counter()
            cell = ref.cell
            ended = cell.ended()
            cell.send(Crash(RuntimeError("on purpose")))
            ended.settled()
            ref.ask(0)
            taken.append(time.perf_counter() - began)

        runner = system.start(Runner)
        for _ in range(200):
            runner.ask(once)
        return statistics.median(taken)


def fan_out(backend: str, subscribers: int) -> float:
    """Return how many deliveries a second one published message makes, subscribers' work included."""
    with System(backend) as system:
        sup = system.start(DynamicSupervisor)
        runner = system.start(Runner)
        for ref in runner.ask(lambda: [sup.start_child(ChildSpec(Echo)) for _ in range(subscribers)]):
            system.pubsub.subscribe("all", ref)

        def publish() -> None:
            system.pubsub.publish("all", 1)
            system.work.wait_idle(30)

        return best_rate(subscribers, publish)


class Ticker(Actor):
    """Notes how late each of its ticks comes."""

    def init(self, late: list[float]) -> None:
        self.late = late
        self.first = self.clock.monotonic()
        self.ticks = 0
        self.timer = self.send_every(INTERVAL, None)

    def receive(self, message: Any) -> None:
        self.ticks += 1 + self.timer.coalesced
        self.timer.coalesced = 0
        self.late.append(self.clock.monotonic() - self.first - self.ticks * INTERVAL)


def timers(backend: str, count: int, seconds: float) -> tuple[float, float, float]:
    """Return the share of ticks that came, and the p50 and p99 of their lateness in seconds."""
    late: list[float] = []
    done = threading.Event()
    with System(backend, blocked_after=None) as system:
        runner = system.start(Runner)
        per_step = count // 20

        def start_some() -> None:
            for _ in range(per_step):
                system.start(Ticker, late)

        for step in range(20):
            system.backend.real.call_after(step * INTERVAL / 20, lambda: runner.tell(start_some))
        done.wait(1.0)
        late.clear()
        began = time.perf_counter()
        done.wait(seconds)
        took = time.perf_counter() - began
        noted = sorted(late)
    due = count * took / INTERVAL
    return len(noted) / due, noted[len(noted) // 2], noted[int(len(noted) * 0.99)]


def isolation(backend: str) -> float:
    """Return how many asks a second a healthy actor answers while 100 others wait."""
    with System(backend) as system:
        gate = system.future()
        for _ in range(100):
            system.start(Runner).tell(gate.get)
        ref = system.start(Echo)
        answered = best_rate(2_000, lambda: [ref.ask(0) for _ in range(2_000)])
        gate.set()
        return answered


def in_turn(contestants: list[Contestant], what: str, count: int) -> dict[str, list[float]]:
    """Return each one's rates a second, round by round: others on the machine then slow all of them alike."""
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for _ in range(ROUNDS):
        for contestant in contestants:
            gc.collect()
            rates[contestant.name].append(count / contestant.works[what](count))
    return rates


def show_rates(scale: int) -> bool:
    """Print the table of median rates with the median of the rounds' ratios; returns whether the budgets are met."""
    contestants = [of_pykka(), of_asyncio(), of_system("greenlets"), of_system("threads")]
    strangers = {name: of_thespian(name, 1_000) for name in THESPIAN_BASES}
    names = [contestant.name for contestant in contestants] + list(strangers)
    print(f"{'a second':13}" + "".join(f"{name:>20}" for name in names) + f"{'ratio':>7}{'budget':>8}")
    met = True
    for what, count in COUNTS.items():
        rates = in_turn(contestants, what, max(100, count // scale))
        pairs = zip(rates["greenlets"], rates["pykka threads"], strict=True)
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        row = "".join(f"{statistics.median(each):20,.0f}" for each in rates.values())
        for stranger in strangers.values():
            rate_of = stranger.get(what) if stranger is not None else None
            row += f"{rate_of:20,.0f}" if rate_of is not None else f"{'-':>20}"
        budget = BUDGETS.get(what)
        print(f"{what:13}{row}{ratio:7.1f}{budget if budget is not None else '':>8}")
        met = met and (budget is None or ratio >= budget)
    for contestant in contestants:
        contestant.close()
    return met


def show_rest(scale: int, many: bool) -> bool:
    """Print memory, restarts, timers, fan-out and isolation; returns whether the budgets are met."""
    each = {kind: memory_of(kind, 5_000 // scale) for kind in ("greenlets", "threads", "pykka threads")}
    print(
        "bytes an idle actor: "
        + ", ".join(f"{kind} {size:,.0f}" for kind, size in each.items())
        + f" (budget {MEMORY_BUDGET:,})"
    )
    restarts = {backend: restart_latency(backend) for backend in ("greenlets", "threads")}
    print(
        "restart, median: "
        + ", ".join(f"{b} {s * 1000:.3f} ms" for b, s in restarts.items())
        + f" (budget {RESTART_BUDGET * 1000:g} ms)"
    )
    share, median, late = timers("greenlets", TIMERS // scale, 3.0)
    print(
        f"{TIMERS // scale:,} timers of {INTERVAL * 1000:g} ms, greenlets: {share:.1%} of the ticks,"
        f" late p50 {median * 1000:.1f} ms, p99 {late * 1000:.1f} ms"
        f" (budget {SHARE_BUDGET:.0%}, p99 {LATENESS_BUDGET * 1000:g} ms)"
    )
    print(f"fan-out to {10_000 // scale:,}: {fan_out('greenlets', 10_000 // scale):,.0f} deliveries/s")
    for backend in ("greenlets", "threads"):
        print(f"asks/s while 100 others wait: {backend} {isolation(backend):,.0f}")
    if many:
        began = time.perf_counter()
        print(
            f"100,000 idle actors: {memory_of('greenlets', 100_000):,.0f} bytes each,"
            f" {time.perf_counter() - began:.1f} s"
        )
    return (
        each["greenlets"] < MEMORY_BUDGET
        and restarts["greenlets"] < RESTART_BUDGET
        and share >= SHARE_BUDGET
        and late < LATENESS_BUDGET
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--many", action="store_true", help="start 100,000 actors too")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1000, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.memory:
        memory(options.memory, options.count)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} processors, medians of {ROUNDS} rounds in turn;"
        " thespian in a process of its own"
    )
    scale = 10 if options.quick else 1
    met = [show_rates(scale), show_rest(scale, options.many)]
    print("budgets met" if all(met) else "a budget is missed")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
