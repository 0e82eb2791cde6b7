"""The part of `services.py` about Webhook: a thousand sensors of a server in another process, polled every 10 s.

The server notes when each request comes, so that a poll counts from the instant at which it was due to its arrival
there: the timer, the executor and the way there are in it.
"""

import asyncio
import gc
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import flowstone as fs
from flowstone.sensors import Webhook
from flowstone.state.database import Database

__all__ = ["measure_webhooks"]

INTERVAL = 10.0
ON_TIME = 1.0
"""Seconds after it was due within which a poll counts as made on time: a tenth of the interval."""

ENOUGH = 0.99
"""The share of the polls due that is made on time."""

BODY = b'{"ready": false, "rows": 17, "updated_at": "2025-01-15T06:00:00Z"}'


class Endpoint:
    """An HTTP server in a process of its own; each answer takes `latency` seconds."""

    def __init__(self, latency: float) -> None:
        context = get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, latency), daemon=True)
        self._process.start()
        far.close()
        self.url = f"http://127.0.0.1:{self._pipe.recv()}"

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.join()

    def noted(self) -> tuple[list[tuple[str, float]], int]:
        """The paths asked for and when, and how many connections were made, since this was asked last."""
        self._pipe.send("noted")
        told: tuple[list[tuple[str, float]], int] = self._pipe.recv()
        return told


def _serve(pipe: Any, latency: float) -> None:
    """The process of the server, until the other end of the pipe is gone."""
    threading.Thread(target=asyncio.run, args=(_listen(pipe, latency, made := _Noted()),), daemon=True).start()
    try:
        while pipe.recv():
            pipe.send(made.taken())
    except EOFError:
        return


class _Noted:
    """What came to the server."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.connections = 0

    def taken(self) -> tuple[list[tuple[str, float]], int]:
        told = self.asked, self.connections
        self.asked, self.connections = [], 0
        return told


async def _listen(pipe: Any, latency: float, noted: _Noted) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        noted.connections += 1
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                noted.asked.append((request.split(b" ", 2)[1].decode(), time.time()))
                await asyncio.sleep(latency)
                writer.write(head + BODY)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1000)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Span(NamedTuple):
    """Some time of the steady state, what the process did in it, and the bytes of a sensor."""

    began: float
    ended: float
    cpu: float
    size: float
    threads: int


def measure_webhooks(sensors: int, seconds: float, latency: float) -> list[str]:
    """Polls of many endpoints by one process; the budgets that they missed."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="raw")
    with Endpoint(latency) as endpoint, tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/store.db"
        with fs.Runtime(shop, store=store) as runtime:
            span = _watched(runtime, endpoint, sensors, seconds)
        asked, connections = endpoint.noted()
        anchors = _first_polls(store)
    polls = [(at, (at - anchors[path.strip("/")]) % INTERVAL) for path, at in asked]
    late = [late for at, late in polls if span.began <= at - late < span.ended]
    due = sensors * seconds / INTERVAL
    share, on_time = len(late) / due, sum(one <= ON_TIME for one in late) / due
    cuts = statistics.quantiles(late, n=100)
    print(
        f"Webhook, {sensors:,} every {INTERVAL:g} s for {seconds:g} s, answers in {latency * 1000:g} ms: "
        f"{share:.1%} polled, {on_time:.1%} within {ON_TIME:g} s, "
        f"late p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, most {max(late) * 1000:.1f} ms\n"
        f"    CPU {span.cpu:.1f} s ({span.cpu / len(late) * 1000:.1f} ms a poll), {span.size:,.0f} bytes a sensor, "
        f"{span.threads} threads, {connections:,} connections made",
        flush=True,
    )
    return [] if on_time >= ENOUGH else [f"Webhook: {ENOUGH:.0%} of the polls due are made within {ON_TIME:g} s"]


def _watched(runtime: fs.Runtime, endpoint: Endpoint, sensors: int, seconds: float) -> Span:
    """Add the sensors over an interval, let each be polled once, and then watch."""
    _add(runtime, endpoint, 0)
    runtime.sensors.poll("s0")  # which loads what HTTP needs
    before = _resident()
    for number in _spread(sensors):
        _add(runtime, endpoint, number)
    _wait(2 * INTERVAL + 1.0)
    size = (_resident() - before) / sensors
    endpoint.noted()
    began, cpu = time.time(), time.process_time()
    _wait(seconds)
    ended, cpu = time.time(), time.process_time() - cpu
    threads = threading.active_count()
    _wait(INTERVAL / 2)
    return Span(began, ended, cpu, size, threads)


def _spread(sensors: int) -> Iterator[int]:
    """The numbers of the sensors to add, evenly over an interval."""
    began = time.monotonic()
    for number in range(1, sensors):
        _wait(max(0.0, began + number * INTERVAL / sensors - time.monotonic()))
        yield number


def _add(runtime: fs.Runtime, endpoint: Endpoint, number: int) -> None:
    sensor = Webhook(url=f"{endpoint.url}/s{number}", check=lambda body: body["ready"])
    runtime.sensors.add(f"s{number}", sensor, every=INTERVAL, target="raw")


def _first_polls(url: str) -> dict[str, float]:
    """When each sensor is polled by the timer for the first time; the later ones follow on its grid."""
    with Database.open(url, exclusive=False) as database:
        rows = database.read(lambda connection: connection.execute("select name, created_at from sensor"))
    return {row.name: datetime.fromisoformat(row.created_at).timestamp() + INTERVAL for row in rows}


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
