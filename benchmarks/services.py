"""Sensors of real services. `python benchmarks/services.py [--only PART ...] [--keys N] [--pushes N] [--sensors N]`

- `growing`, `any`: S3, a bucket of a million keys, 100 of them new since the last poll, for keys that grow and for
  random keys: requests, seconds, the cursor's bytes, and by how much the process grew at most. `naive` beside them is a
  full listing with a set of all keys seen. The server is a process of its own that answers ListObjectsV2 over HTTP
- `cpu`: polls of a bucket of 1,000 keys without the network: the CPU of our own code and of writing the cursor, for
  pages that a client gives from memory, which the store knows as a set in memory; the last line has boto3 too, as the
  CPU of this process while it asks the server
- `push`: messages over HTTP on SQLite with synchronous=FULL, from 16 connections, each answered after its commit
- `webhooks`: 1,000 Webhook sensors of an HTTP server in another process, every 10 s: the share of polls due that came
  to the server on time, how late they came, CPU and memory of the process that polls

Each part has a process of its own. The numbers depend on the machine. The exit status is 1 when a budget is missed.
"""

import argparse
import http.client
import logging
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

# Files beside this one are named as packages that FlowStone needs, and Python looks beside a script first.
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

import flowstone as fs  # noqa: E402
from flowstone.sensors import Push  # noqa: E402
from flowstone.web import Server, create_app  # noqa: E402

sys.path.append(str(HERE))
from services_bucket import YEAR  # noqa: E402 - after the path is right
from services_s3 import measure_cpu, measure_listing, measure_naive  # noqa: E402
from services_webhooks import measure_webhooks  # noqa: E402

PUSHES = 200
"""Messages a second that are durable when they are answered."""

CONNECTIONS = 16
KEYS_OF_A_POLL = 1000


def send(url: str, first: int, count: int, results: list[float]) -> None:
    """Messages over one connection, one after the other."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    for number in range(first, first + count):
        started = time.perf_counter()
        headers = {"Content-Type": "application/json", "X-Message-Id": str(number)}
        connection.request("POST", "/sensors/inbox", b'{"day": "2025-01-15"}', headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        results.append(time.perf_counter() - started)
    connection.close()


def measure_pushes(count: int) -> list[str]:
    """Messages a second, durable, and how long each waited; the budgets that were missed."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="raw")
    shop.sensor("inbox", Push(auth=False), target="raw")
    results: list[float] = []
    # Which tells that as many requests wait as were sent.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, fs.Client(shop, store=f"sqlite:///{folder}/store.db") as client:
        server = Server(create_app(client), port=0)
        server.start()
        each = count // CONNECTIONS
        threads = [
            threading.Thread(target=send, args=(server.url, number * each, each, results))
            for number in range(CONNECTIONS)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        server.close()
    cuts, rate = statistics.quantiles(results, n=100), len(results) / seconds
    print(
        f"push over HTTP, SQLite FULL: {rate:,.0f} a second, "
        f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms ({CONNECTIONS} connections, client included)",
        flush=True,
    )
    whole = len(results) == each * CONNECTIONS
    return [] if whole and rate >= PUSHES else [f"{PUSHES} pushes a second, all of them answered"]


def parts(given: argparse.Namespace) -> dict[str, Callable[[], list[str]]]:
    """What measures each part, and gives the budgets that it missed."""
    return {
        "growing": partial(measure_listing, "growing", given.keys, given.days),
        "any": partial(measure_listing, "any", given.keys, given.days),
        "naive": partial(measure_naive, given.keys),
        "cpu": partial(measure_cpu, KEYS_OF_A_POLL),
        "push": partial(measure_pushes, given.pushes),
        "webhooks": partial(measure_webhooks, given.sensors, given.seconds, given.latency),
    }


def alone(measure: Callable[[], list[str]]) -> list[str]:
    """What is measured in a process of its own, whose memory nobody has used before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure).result()


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=YEAR, help="over which the keys came; 1 has them all looked at")
    parser.add_argument("--pushes", type=int, default=4_000)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the steady state of webhooks")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that an answer to a webhook takes")
    parser.add_argument("--only", nargs="+", metavar="PART", help="of growing, any, naive, cpu, push, webhooks")
    given = parser.parse_args()
    measured = parts(given)
    if unknown := set(given.only or ()) - measured.keys():
        parser.error(f"expected parts of {', '.join(measured)}, got: {', '.join(sorted(unknown))}")
    print(f"{platform.platform()}, Python {platform.python_version()}; {given.keys:,} keys", flush=True)
    chosen = [measure for name, measure in measured.items() if name in (given.only or measured)]
    missed = [budget for measure in chosen for budget in alone(measure)]
    print(f"budgets MISSED: {'; '.join(missed)}" if missed else "budgets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
