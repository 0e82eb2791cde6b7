"""Sensors of real services. `python benchmarks/services.py [--keys N] [--pushes N]`

S3: a bucket of a million keys, 100 of them new since the last poll: requests, seconds, the cursor's bytes and the peak
of memory, for keys that grow and for random keys, beside a naive listing with a set of all keys seen. The server is a
process of its own that answers ListObjectsV2 over HTTP from a sorted list. Push: messages over HTTP on SQLite with
synchronous=FULL, from 16 connections, each answered after its commit. The numbers depend on the machine.
"""

import argparse
import bisect
import hashlib
import http.client
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

# Files beside this one are named as packages that FlowStone needs, and Python looks beside a script first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import boto3  # noqa: E402

import flowstone as fs  # noqa: E402
from flowstone.sensors import Push, S3FileArrival  # noqa: E402
from flowstone.sensors.cursor import write_state  # noqa: E402
from flowstone.web import Server, create_app  # noqa: E402

NEW = 100
PAGE = 1000
CONNECTIONS = 16
YEAR = 365 * 86_400.0


class Bucket:
    """A bucket in a process of its own."""

    def __init__(self, keys: int, growing: bool) -> None:
        context = get_context("spawn")
        near, far = context.Pipe()
        self._pipe = near
        self._process = context.Process(target=serve, args=(far, keys, growing), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{near.recv()}"

    def add(self) -> None:
        """Put the new keys in."""
        self._pipe.send("add")
        self._pipe.recv()

    def requests(self) -> int:
        """Requests since this was asked last."""
        self._pipe.send("requests")
        return int(self._pipe.recv())

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.join()


def serve(pipe: Any, count: int, growing: bool) -> None:
    """The server: keys that came over a year, and those that are added."""
    now = time.time()

    def instant(ago: float) -> str:
        return datetime.fromtimestamp(now - ago, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def name(number: int) -> str:
        return f"events/{number:012}" if growing else f"events/{hashlib.sha256(str(number).encode()).hexdigest()[:32]}"

    keys = sorted(map(name, range(count)))
    times = {name(number): instant((count - number) * YEAR / count) for number in range(count)}
    asked = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked[0] += 1
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            after = query.get("continuation-token") or query.get("start-after", "")
            first = bisect.bisect_right(keys, after)
            some = keys[first:][:PAGE] if first + PAGE >= len(keys) else keys[first : first + PAGE]  # noqa: E203
            more = first + PAGE < len(keys)
            token = f"<NextContinuationToken>{quote(some[-1])}</NextContinuationToken>" if more else ""
            found = "".join(
                f"<Contents><Key>{key}</Key><LastModified>{times[key]}</LastModified>"
                f'<ETag>"{len(key):032x}"</ETag><Size>1</Size></Contents>'
                for key in some
            )
            head = f"<Name>b</Name><KeyCount>{len(some)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
            body = f"<ListBucketResult>{head}{token}{found}</ListBucketResult>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_address[1])
    while True:
        if pipe.recv() == "add":
            for number in range(count, count + NEW):
                bisect.insort(keys, name(number))
                times[name(number)] = instant(0)
            pipe.send(None)
        else:
            told, asked[0] = asked[0], 0
            pipe.send(told)


class Known:
    """What a store would know of: the arrivals that were committed."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def now(self) -> datetime:
        """The computer's time."""
        return datetime.now(UTC)

    def known(self, keys: Any) -> frozenset[str]:
        """Those of the keys that were committed."""
        return frozenset(key for key in keys if key in self.keys)

    def commit(self, answer: Any) -> Any:
        """The answer, committed."""
        self.keys.update(answer.seen, (item.key for item in getattr(answer, "items", ())))
        return answer


def peak_of(call: Any) -> int:
    """The bytes that a call holds at most; it is measured apart, for measuring slows it down."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def told(what: str, arrivals: int, requests: int, seconds: float, cursor: int, peak: int) -> None:
    """Print one line."""
    print(
        f"{what:<34} {arrivals:>6} new {requests:>6} requests {seconds:8.2f} s"
        f"   cursor {cursor:>12,} bytes   peak {peak / 1e6:7.1f} MB"
    )


def measure_sensor(order: str, keys: int) -> bool:
    """Ours; whether every new key was told."""
    bucket = Bucket(keys, growing=order == "growing")
    place = {"endpoint_url": bucket.url, "region_name": "us-east-1"}
    secrets = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    sensor = S3FileArrival(
        bucket="b", prefix="events/", order=order, existing="ignore", max_requests=10_000, **place, **secrets
    )
    known: Any = Known()
    started = time.perf_counter()
    sensor = sensor.within(known)
    state = sensor.init()
    answer: Any = sensor.poll(state)
    while known.commit(answer).again:
        answer = sensor.poll(answer.state)
    told(f"S3, {order}: what is there at first", 0, bucket.requests(), time.perf_counter() - started, 0, 0)
    state = answer.state
    bucket.requests()
    bucket.add()
    started = time.perf_counter()
    answer = sensor.poll(state)
    seconds = time.perf_counter() - started
    cursor = len(write_state(sensor, answer.state))
    requests = bucket.requests()
    told(f"S3, {order}: a poll", len(answer.items), requests, seconds, cursor, peak_of(lambda: sensor.poll(state)))
    bucket.close()
    return len(answer.items) == NEW


def measure_naive(keys: int) -> None:
    """A full listing, and a set of all keys seen as the cursor."""
    bucket = Bucket(keys, growing=False)
    client = boto3.client(
        "s3", endpoint_url=bucket.url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )

    def listed() -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="events/")
        return [told["Key"] for page in pages for told in page["Contents"]]

    def poll(seen: str) -> tuple[int, str]:
        before = set(json.loads(seen))
        found = listed()
        return sum(key not in before for key in found), json.dumps(found)

    _, seen = poll("[]")
    bucket.requests()
    bucket.add()
    started = time.perf_counter()
    new, after = poll(seen)
    seconds = time.perf_counter() - started
    requests = bucket.requests()
    told("naive: a set of all keys seen", new, requests, seconds, len(after), peak_of(lambda: poll(seen)))
    bucket.close()


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


def measure_pushes(count: int) -> None:
    """Messages a second, durable, and how long each waited."""
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: None, name="raw")
    shop.sensor("inbox", Push(auth=False), target="raw")
    results: list[float] = []
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
    cuts = statistics.quantiles(results, n=100)
    print(
        f"push over HTTP, SQLite FULL: {len(results) / seconds:,.0f} a second, "
        f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms ({CONNECTIONS} connections, client included)"
    )


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--pushes", type=int, default=4_000)
    given = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}; {given.keys:,} keys")
    whole = all([measure_sensor("growing", given.keys), measure_sensor("any", given.keys)])
    measure_naive(given.keys)
    measure_pushes(given.pushes)
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
