"""Peers of actors, each as a contestant: what it does a count of times, to be timed from outside.

pykka's threads, and asyncio's tasks with queues, run in this process. thespian runs in one of its own
(`python benchmarks/actors_peers.py BASE COUNT`), since its systems fork.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pykka

__all__ = ["THESPIAN_BASES", "Contestant", "PykkaEcho", "of_asyncio", "of_pykka", "of_thespian", "timed"]

THESPIAN_BASES = {"thespian in process": "simpleSystemBase", "thespian processes": "multiprocQueueBase"}


@dataclass(frozen=True)
class Contestant:
    """`works` maps what is measured to a function that does it so many times and returns the seconds it took."""

    name: str
    works: dict[str, Callable[[int], float]]
    close: Callable[[], object]


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class PykkaEcho(pykka.ThreadingActor):
    """pykka's own actor on a thread."""

    def on_receive(self, message: Any) -> Any:
        return message


class PykkaRunner(pykka.ThreadingActor):
    """Runs a function in an actor, for what is measured inside."""

    def on_receive(self, message: Callable[[], Any]) -> Any:
        return message()


def of_pykka() -> Contestant:
    """Return pykka on threads."""
    ref, inside = PykkaEcho.start(), PykkaRunner.start()

    def tell(count: int) -> float:
        return timed(lambda: ([ref.tell(number) for number in range(count)], ref.ask(0)))

    def ask(count: int) -> float:
        return timed(lambda: [ref.ask(number) for number in range(count)])

    def spawn(count: int) -> float:
        refs: list[Any] = []
        took = timed(lambda: refs.extend(PykkaEcho.start() for _ in range(count)))
        for ref in refs:
            ref.stop()
        return took

    works = {
        "tell inside": lambda count: inside.ask(lambda: tell(count)),
        "tell across": tell,
        "ask across": ask,
        "ask inside": lambda count: inside.ask(lambda: ask(count)),
        "spawn": spawn,
        "spawn across": spawn,
    }
    return Contestant("pykka threads", works, pykka.ActorRegistry.stop_all)


class _Loop:
    """An event loop in a thread, with one task that answers what comes through its queue."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.task = self.wait(self._start())

    async def _start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.echo())

    async def echo(self) -> None:
        while True:
            message, answer = await self.queue.get()
            if answer is not None:
                answer.set_result(message)

    async def ask(self, message: Any) -> Any:
        answer = self.loop.create_future()
        self.queue.put_nowait((message, answer))
        return await answer

    def wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result()

    def tell(self, count: int) -> None:
        for number in range(count):
            self.loop.call_soon_threadsafe(self.queue.put_nowait, (number, None))
        self.wait(self.ask(0))

    async def tell_inside(self, count: int) -> float:
        began = time.perf_counter()
        for number in range(count):
            self.queue.put_nowait((number, None))
        await self.ask(0)
        return time.perf_counter() - began

    async def ask_inside(self, count: int) -> float:
        began = time.perf_counter()
        for number in range(count):
            await self.ask(number)
        return time.perf_counter() - began

    async def spawn(self, count: int) -> float:
        began = time.perf_counter()
        tasks = [asyncio.create_task(self.echo()) for _ in range(count)]
        await asyncio.sleep(0)
        took = time.perf_counter() - began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return took

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.task.cancel)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def of_asyncio() -> Contestant:
    """Return asyncio's tasks with queues, asked from inside their loop and from another thread."""
    loop = _Loop()
    works = {
        "tell inside": lambda count: loop.wait(loop.tell_inside(count)),
        "tell across": lambda count: timed(lambda: loop.tell(count)),
        "ask across": lambda count: timed(lambda: [loop.wait(loop.ask(number)) for number in range(count)]),
        "ask inside": lambda count: loop.wait(loop.ask_inside(count)),
        "spawn": lambda count: loop.wait(loop.spawn(count)),
        "spawn across": lambda count: loop.wait(loop.spawn(count)),
    }
    return Contestant("asyncio", works, loop.close)


def of_thespian(name: str, count: int) -> dict[str, float] | None:
    """Return thespian's rates a second, None where it is not installed or does not end in time."""
    command = [sys.executable, "-P", __file__, THESPIAN_BASES[name], str(count)]
    # In a session of its own: what it forks ends with it, and its signals reach nobody else.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode:
        return None
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def _measure_thespian(base: str, count: int) -> dict[str, float]:
    from thespian.actors import Actor, ActorSystem

    class Echo(Actor):  # type: ignore[misc]  # thespian ships no types
        def receiveMessage(self, message: Any, sender: Any) -> None:
            if isinstance(message, str):
                self.send(sender, message)

    class Runner(Actor):  # type: ignore[misc]  # thespian ships no types
        def receiveMessage(self, message: Any, sender: Any) -> None:
            if isinstance(message, tuple):
                self.echo, self.left = message
                self.asker, self.began, self.count = sender, time.perf_counter(), self.left
            elif message != "ask":
                return
            self.left -= 1
            if self.left >= 0:
                self.send(self.echo, "ask")
            else:
                self.send(self.asker, self.count / (time.perf_counter() - self.began))

    # thespian finds classes by their module, in the processes that it forks.
    for cls in (Echo, Runner):
        cls.__qualname__ = cls.__name__
        globals()[cls.__name__] = cls
    system = ActorSystem(base)
    try:
        echo, runner = system.createActor(Echo), system.createActor(Runner)
        system.ask(echo, "ask", 10)
        tells = timed(lambda: ([system.tell(echo, number) for number in range(count)], system.ask(echo, "ask", 30)))
        asks = timed(lambda: [system.ask(echo, "ask", 10) for _ in range(count)])
        inside = statistics.median(system.ask(runner, (echo, count), 30) for _ in range(3))
        spawned = timed(lambda: [system.createActor(Echo) for _ in range(10)])
        rates = {"tell across": count / tells, "ask across": count / asks, "ask inside": inside}
        return {**rates, "spawn across": 10 / spawned}
    finally:
        system.shutdown()


if __name__ == "__main__":
    print(json.dumps(_measure_thespian(sys.argv[1], int(sys.argv[2]))))
