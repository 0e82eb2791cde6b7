"""The parts of `services.py` about S3: polls of a bucket of a million keys, and the CPU of a poll of a thousand."""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

import boto3
from services_bucket import NEW, PAGE, YEAR, Bucket, key_of

from flowstone.sensors import S3FileArrival
from flowstone.sensors.cursor import write_state

__all__ = ["measure_cpu", "measure_listing", "measure_naive"]

SECRETS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
CURSOR = 10_000
"""Bytes that a cursor may have, however many keys there are."""

HANDFUL = 5
"""Requests of a poll of keys that grow."""

CPU = 0.1
"""Seconds that a poll of a thousand keys may compute."""

ROUNDS = 30

T = TypeVar("T")


class Known:
    """What a store would know of: the arrivals that were committed."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def now(self) -> datetime:
        """The computer's time."""
        return datetime.now(UTC)

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the keys that were committed."""
        return frozenset(key for key in keys if key in self.keys)

    def commit(self, answer: Any) -> Any:
        """The answer, committed."""
        self.keys.update(answer.seen, (item.key for item in getattr(answer, "items", ())))
        return answer


class Prepared:
    """A client that gives a page from memory, as boto3 gives it."""

    def __init__(self, keys: int) -> None:
        now = datetime.now(UTC)
        self.objects = [
            {
                "Key": key_of(number, growing=True),
                "LastModified": now - timedelta(seconds=keys - number),
                "ETag": f'"{number:032x}"',
                "Size": 1,
                "StorageClass": "STANDARD",
            }
            for number in range(keys)
        ]
        self._headers = {"date": format_datetime(now, usegmt=True)}

    def list_objects_v2(self, **_asked: str) -> dict[str, Any]:
        """All of the objects."""
        return {"Contents": self.objects, "IsTruncated": False, "ResponseMetadata": {"HTTPHeaders": self._headers}}


def measure_listing(order: str, keys: int, days: float) -> list[str]:
    """A poll of a bucket to which a hundred objects came; the budgets that it missed.

    The keys before came over some days; the cursor looks back for one of them, and the store is asked about its keys.
    """
    with Bucket(keys, growing=order == "growing", days=days) as bucket:
        options: dict[str, Any] = {**SECRETS, "endpoint_url": bucket.url, "max_requests": 10_000}
        known: Any = Known()
        sensor = S3FileArrival(bucket="b", prefix="events/", order=order, existing="ignore", **options).within(known)
        first, seconds, peak = cost_of(lambda: started(sensor, known))
        _print(f"S3, {order}: all there is at first", first, bucket.requests(), seconds, sensor, peak)
        bucket.add()
        answer, seconds, peak = cost_of(lambda: sensor.poll(first.state))
        requests = bucket.requests()
        cursor = _print(f"S3, {order}: a poll", answer, requests, seconds, sensor, peak)
    most = HANDFUL if order == "growing" else (keys + NEW) // PAGE + HANDFUL
    budgets = {
        f"S3, {order}: all new keys are told": len(getattr(answer, "items", ())) == NEW,
        f"S3, {order}: at most {most:,} requests": requests <= most,
        f"S3, {order}: a cursor under {CURSOR:,} bytes": cursor < CURSOR,
    }
    return [budget for budget, met in budgets.items() if not met]


def started(sensor: S3FileArrival, known: Any) -> Any:
    """The answer after which all that there is counts as seen."""
    answer: Any = sensor.poll(sensor.init())
    while known.commit(answer).again:
        answer = sensor.poll(answer.state)
    return answer


def measure_naive(keys: int) -> list[str]:
    """The same poll by a full listing with boto3 as it is, and a set of all keys seen as the cursor."""
    seen = json.dumps([key_of(number, growing=False) for number in range(keys)])
    with Bucket(keys, growing=False, days=YEAR) as bucket:
        client = boto3.client("s3", endpoint_url=bucket.url, **SECRETS)

        def poll() -> tuple[int, str]:
            before = set(json.loads(seen))
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="events/")
            found = [told["Key"] for page in pages for told in page["Contents"]]
            return sum(key not in before for key in found), json.dumps(found)

        bucket.add()
        (new, after), seconds, peak = cost_of(poll)
        _line("naive: a set of all keys seen", new, bucket.requests(), seconds, len(after), peak)
    return []


def measure_cpu(keys: int) -> list[str]:
    """The CPU of polls of a thousand keys, without the network; the budgets that they missed."""
    prepared = Prepared(keys)
    given: dict[str, Any] = {"bucket": "b", "prefix": "events/", "client": prepared}
    told = [
        _cpu("S3, any: all new", S3FileArrival(**given), Known()),
        _cpu("S3, growing: all new", S3FileArrival(**given, order="growing"), Known()),
    ]
    known: Any = Known()
    sensor = S3FileArrival(**given)
    state = started(sensor.within(known), known).state
    told.append(_cpu("S3, any: nothing new", sensor, known, state))
    prepared.objects.append({**prepared.objects[-1], "Key": "events/new"})
    told.append(_cpu("S3, any: one new, the store asked", sensor, known, state))
    with Bucket(keys, growing=False, days=0.5) as bucket:
        sensor = S3FileArrival(bucket="b", prefix="events/", endpoint_url=bucket.url, **SECRETS)
        told.append(_cpu("S3, any: all new, boto3 included", sensor, Known()))
    return [f"a poll of {keys:,} keys computes less than {CPU * 1000:.0f} ms"] if max(told) >= CPU else []


def _cpu(what: str, sensor: S3FileArrival, known: Any, state: Any = None) -> float:
    """The seconds of CPU that the dearest of some polls took, its cursor written."""
    sensor = sensor.within(known)
    given, told, times = sensor.init() if state is None else state, 0, list[float]()
    for _ in range(ROUNDS + 1):
        began = time.process_time()
        answer: Any = sensor.poll(given)
        write_state(sensor, answer.state)
        times.append(time.process_time() - began)
        told = len(getattr(answer, "items", ()))
    del times[0]  # which imported, and connected
    print(
        f"{what:<34} {told:>6} new   CPU p50 {statistics.median(times) * 1000:6.1f} ms, "
        f"most {max(times) * 1000:6.1f} ms of {ROUNDS} polls",
        flush=True,
    )
    return max(times)


def cost_of(call: Callable[[], T]) -> tuple[T, float, int]:
    """What a call gives, its seconds, and the most bytes that the process grew by while it ran."""
    # The kernel's own account of the peak, which slows nothing down as tracing each allocation does.
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _memory("VmRSS"), time.perf_counter()
    given = call()
    return given, time.perf_counter() - began, max(0, _memory("VmHWM") - before)


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _print(what: str, answer: Any, requests: int, seconds: float, sensor: Any, peak: int) -> int:
    """The bytes of the cursor that an answer leaves, told with the rest."""
    cursor = len(write_state(sensor, answer.state))
    _line(what, len(getattr(answer, "items", ())), requests, seconds, cursor, peak)
    return cursor


def _line(what: str, new: int, requests: int, seconds: float, cursor: int, peak: int) -> None:
    print(
        f"{what:<34} {new:>6} new {requests:>6,} requests {seconds:8.2f} s"
        f"   cursor {cursor:>12,} bytes   memory {peak / 1e6:+7.1f} MB",
        flush=True,
    )
