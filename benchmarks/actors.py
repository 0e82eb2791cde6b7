"""Actors: both backends beside pykka's threads and asyncio in the same run.

`python benchmarks/actors.py [--quick] [--many]`

What it asks: how fast messages are told and asked (inside a hub and from another thread), actors started, one restarted
after a crash, one message fanned out to 10,000; what an idle actor costs; how punctual 10,000 timers are; and whether
actors go on while one of them waits. Rates depend on the machine; read the ratios. `--many` starts 100,000 actors too.
The exit status is 1 when a budget is missed.
"""

from __future__ import annotations

import argparse
import asyncio
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

import pykka

# This file is named as the package that it measures, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from actors import Actor, ChildSpec, DynamicSupervisor, Supervisor, System  # noqa: E402 - after the path is right
from actors.messages import Crash  # noqa: E402

ROUNDS = 3
BUDGETS = {
    "tell": (1.5, "greenlets", "pykka threads"),
    "ask inside": (8.0, "greenlets", "pykka threads"),
    "ask across": (1.5, "greenlets", "pykka threads"),
    "spawn": (5.0, "greenlets", "pykka threads"),
}
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


class PykkaEcho(pykka.ThreadingActor):
    """pykka's own actor on a thread."""

    def on_receive(self, message: Any) -> Any:
        return message


class PykkaRunner(pykka.ThreadingActor):
    """The same as Runner, in pykka."""

    def on_receive(self, message: Callable[[], Any]) -> Any:
        return message()


def rate(count: int, work: Callable[[], object]) -> float:
    """Return how many a second, the best of some rounds: others on the machine only ever slow things down."""
    best = 0.0
    for _ in range(ROUNDS):
        gc.collect()
        began = time.perf_counter()
        work()
        best = max(best, count / (time.perf_counter() - began))
    return best


def messages(start: Callable[[Any], Any], echo: Any, runner: Any, scale: int) -> dict[str, float]:
    """Return rates of tells and asks, for whatever has tell and ask."""
    ref, inside = start(echo), start(runner)
    tells, asks = 50_000 // scale, 10_000 // scale

    def tell() -> None:
        for number in range(tells):
            ref.tell(number)
        ref.ask(0)

    def ask() -> None:
        for number in range(asks):
            ref.ask(number)

    return {"tell": rate(tells, tell), "ask across": rate(asks, ask), "ask inside": rate(asks, lambda: inside.ask(ask))}


def of_system(backend: str, scale: int) -> dict[str, float]:
    """Return the rates of one of our backends."""
    with System(backend) as system:
        found = messages(system.start, Echo, Runner, scale)
        count = 2_000 // scale

        def spawn() -> None:
            for _ in range(count):
                system.start(Echo)

        inside = system.start(Runner)
        found["spawn"] = rate(count, lambda: inside.ask(spawn))
        found["spawn across"] = rate(count, spawn)
    return found


def of_pykka(scale: int) -> dict[str, float]:
    """Return the rates of pykka's threads."""
    found = messages(lambda cls: cls.start(), PykkaEcho, PykkaRunner, scale)
    count, best = 1_000 // scale, 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        refs = [PykkaEcho.start() for _ in range(count)]
        best = max(best, count / (time.perf_counter() - began))
        for ref in refs:
            ref.stop(block=False)
    pykka.ActorRegistry.stop_all()
    return found | {"spawn": best, "spawn across": best}


async def _of_asyncio(scale: int) -> dict[str, float]:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def echo() -> None:
        while True:
            message, answer = await queue.get()
            if answer is not None:
                answer.set_result(message)

    async def ask(message: Any) -> Any:
        answer = loop.create_future()
        queue.put_nowait((message, answer))
        return await answer

    task = asyncio.create_task(echo())
    tells, asks = 50_000 // scale, 10_000 // scale
    found = {}
    began = time.perf_counter()
    for number in range(asks):
        await ask(number)
    found["ask inside"] = asks / (time.perf_counter() - began)

    def outside() -> None:
        began = time.perf_counter()
        for number in range(tells):
            loop.call_soon_threadsafe(queue.put_nowait, (number, None))
        asyncio.run_coroutine_threadsafe(ask(0), loop).result()
        found["tell"] = tells / (time.perf_counter() - began)
        began = time.perf_counter()
        for number in range(asks):
            asyncio.run_coroutine_threadsafe(ask(number), loop).result()
        found["ask across"] = asks / (time.perf_counter() - began)

    await asyncio.to_thread(outside)
    count = 10_000 // scale
    began = time.perf_counter()
    others = [asyncio.create_task(echo()) for _ in range(count)]
    await asyncio.sleep(0)
    found["spawn"] = found["spawn across"] = count / (time.perf_counter() - began)
    for other in [task, *others]:
        other.cancel()
    return found


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

        return rate(subscribers, publish)


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
        answered = rate(2_000, lambda: [ref.ask(0) for _ in range(2_000)])
        gate.set()
        return answered


def show_rates(scale: int) -> bool:
    """Print the table of rates with the ratios; returns whether the budgets are met."""
    table = {
        "pykka threads": of_pykka(scale),
        "asyncio": asyncio.run(_of_asyncio(scale)),
        "greenlets": of_system("greenlets", scale),
        "threads": of_system("threads", scale),
    }
    print(f"{'a second':14}" + "".join(f"{name:>16}" for name in table) + f"{'ratio':>9}{'budget':>9}")
    met = True
    for what in ("tell", "ask inside", "ask across", "spawn", "spawn across"):
        ratio = table["greenlets"][what] / table["pykka threads"][what]
        budget = BUDGETS.get(what, (None,))[0]
        row = "".join(f"{rates[what]:16,.0f}" for rates in table.values())
        print(f"{what:14}{row}{ratio:9.1f}{budget if budget is not None else '':>9}")
        met = met and (budget is None or ratio >= budget)
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
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, best of {ROUNDS} rounds")
    scale = 10 if options.quick else 1
    met = [show_rates(scale), show_rest(scale, options.many)]
    print("budgets met" if all(met) else "a budget is missed")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
