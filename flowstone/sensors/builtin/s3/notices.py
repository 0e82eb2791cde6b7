"""The notifications that a bucket sends to a queue: read, answered, and deleted once the answer was committed.

A message that is read is hidden from others for a while (the queue's visibility timeout). Which messages an answer
came from is kept in memory under a token that its state carries: the next poll finds the token in its state if the
answer was committed, and deletes them. Whatever goes wrong before that, the queue shows them again, and what was
committed by then is known by its key.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_plus

from flowstone.sensors.builtin.s3.client import Connections, meaning
from flowstone.sensors.builtin.s3.gathering import answer
from flowstone.sensors.builtin.s3.objects import Filter, Found
from flowstone.sensors.sensor import Answer, Arrival

__all__ = ["Notices", "read_notice"]

log = logging.getLogger(__name__)

_AT_ONCE = 10
"""Messages that SQS gives and deletes by one request."""

_WAIT = 1
"""Seconds that a request waits for messages: long enough for SQS to ask all of its servers."""

_MOST_BATCHES = 8


class Notices:
    """Reads a queue; one for each sensor, shared by its polls."""

    def __init__(self, connections: Connections, queue_url: str, bucket: str, limit: int) -> None:
        self._connections = connections
        self._queue = queue_url
        self._bucket = bucket
        self._limit = limit
        self._batches: OrderedDict[str, list[str]] = OrderedDict()
        self._lock = threading.Lock()

    def poll(self, state: Mapping[str, Any], arrived: Callable[[Found], Arrival], keys: Filter) -> Answer:
        """What the queue tells of; `state` is that of the last answer that was committed.

        Raises:
            PollError: the queue can't be reached, or refuses.
        """
        self._delete(state.get("batch"))
        met, handles, found, cut = set[str](), dict[str, str](), dict[str, Found](), False
        for message in self._received():
            name, handle = message.get("MessageId", message["ReceiptHandle"]), message["ReceiptHandle"]
            if cut := name in met:
                # The queue shows again what was read: no more is read before that is deleted, by its newest handle.
                if name in handles:
                    handles[name] = handle
                break
            met.add(name)
            told = read_notice(message["Body"])
            if told is None:
                log.warning("a message of queue %s is no notification of a bucket; it is left there", self._queue)
                continue
            handles[name] = handle
            ours = [one for one in told if one.bucket == self._bucket and keys.takes(one.key)]
            found.update((one.identity, one) for one in ours)
            if cut := len(found) >= self._limit or len(handles) >= self._limit:
                break
        following = {**state, "batch": self._kept(list(handles.values()))}
        return answer([arrived(one) for one in found.values()], following, again=cut and bool(handles))

    def _received(self) -> Iterator[Mapping[str, Any]]:
        """Messages until the queue gives none."""
        wait = _WAIT
        while True:
            received = self._asked(partial(_receive, self._queue, wait)).get("Messages", ())
            yield from received
            if not received:
                return
            wait = 0

    def _kept(self, handles: list[str]) -> str | None:
        if not handles:
            return None
        token = uuid.uuid4().hex
        with self._lock:
            self._batches[token] = handles
            while len(self._batches) > _MOST_BATCHES:
                self._batches.popitem(last=False)
        return token

    def _delete(self, token: str | None) -> None:
        """Delete the messages of an answer that was committed; what can't be deleted is shown again, and known."""
        with self._lock:
            handles = self._batches.get(token or "", [])
        for start in range(0, len(handles), _AT_ONCE):
            some = handles[start:][:_AT_ONCE]
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(some)]
            self._asked(partial(_delete, self._queue, entries))
        with self._lock:
            self._batches.pop(token or "", None)

    def _asked(self, call: Callable[[Any], Any]) -> Any:
        what = f"queue {self._queue.rpartition('/')[2]!r}"
        return meaning(lambda: call(self._connections.client("sqs")), what)


def _receive(url: str, wait: int, queue: Any) -> Any:
    return queue.receive_message(QueueUrl=url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=wait)


def _delete(url: str, entries: list[dict[str, str]], queue: Any) -> Any:
    return queue.delete_message_batch(QueueUrl=url, Entries=entries)


def read_notice(text: str) -> list[Found] | None:
    """The objects that a message tells of: S3's own form, that within SNS's, or EventBridge's; None for another one.

    A message without objects, such as the one that S3 sends to try the queue, is an empty list.
    """
    try:
        told = json.loads(text)
        if "Message" in told and "TopicArn" in told:
            told = json.loads(told["Message"])
        if told.get("Event") == "s3:TestEvent":
            return []
        if "detail-type" in told:
            return [_of_event(told)] if told["detail-type"] == "Object Created" else []
        return list(_of_records(told["Records"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _of_records(records: Iterable[Mapping[str, Any]]) -> Iterator[Found]:
    for record in records:
        if str(record["eventName"]).startswith("ObjectCreated"):
            told = record["s3"]["object"]
            version = told.get("versionId") or told.get("sequencer") or ""
            yield _found(record["s3"], unquote_plus(told["key"]), record["eventTime"], "eTag", version)


def _of_event(event: Mapping[str, Any]) -> Found:
    told = event["detail"]["object"]
    version = told.get("version-id") or told.get("sequencer") or ""
    return _found(event["detail"], told["key"], event["time"], "etag", version)


def _found(told: Mapping[str, Any], key: str, time: str, etag: str, version: str) -> Found:
    at = datetime.fromisoformat(time).timestamp()
    thing = told["object"]
    return Found(told["bucket"]["name"], key, str(thing.get(etag, "")), int(thing.get("size", 0)), at, version)
