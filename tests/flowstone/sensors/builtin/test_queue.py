"""A bucket's queue, of any manners: each object that it tells of once, and no poll without an end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone.sensors import PollError, S3FileArrival
from flowstone.sensors.builtin.s3 import notices

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def body(key: str, bucket: str = "b") -> str:
    thing = {"key": key, "size": 1, "eTag": "e", "sequencer": "1"}
    place = {"bucket": {"name": bucket}, "object": thing}
    told = {"eventName": "ObjectCreated:Put", "eventTime": "2025-01-15T12:00:00.000Z", "s3": place}
    return json.dumps({"Records": [told]})


class Forgetful:
    """A queue made by hand that shows what it has again at once, under a new handle each time."""

    def __init__(self, *bodies: str) -> None:
        self.messages = {f"m{number}": body for number, body in enumerate(bodies)}
        self.shown: dict[str, str] = {}
        self.requests = 0

    def receive_message(self, **wanted: Any) -> dict[str, Any]:
        self.requests += 1
        assert self.requests < 1000, "a poll of this queue has no end"
        told = []
        for name, text in list(self.messages.items())[:10]:
            handle = f"{name}/{self.requests}"
            self.shown[name] = handle
            told.append({"MessageId": name, "Body": text, "ReceiptHandle": handle})
        return {"Messages": told} if told else {}

    def delete_message_batch(self, QueueUrl: str, Entries: Any) -> None:  # noqa: N803 - the service's names
        for entry in Entries:
            name = entry["ReceiptHandle"].partition("/")[0]
            if self.shown[name] == entry["ReceiptHandle"]:
                del self.messages[name]


def watched(poller: Any, queue: Any, **options: Any) -> Any:
    return poller(S3FileArrival(bucket="b", queue_url="https://sqs/q", queue_client=queue, **options))


def test_a_queue_that_shows_again_what_was_read_is_read_to_its_end(poller: Any) -> None:
    queue = Forgetful(*(body(str(number)) for number in range(35)))
    watch = watched(poller, queue)
    assert sorted(item.payload["key"] for item in watch.all()) == sorted(map(str, range(35)))
    assert (len(watch.poll()), watch.answer.again, queue.messages) == (0, False, {})


def test_a_message_shown_again_is_deleted_by_its_newest_handle(poller: Any) -> None:
    queue = Forgetful(body("a"))
    watch = watched(poller, queue)
    assert [item.payload["key"] for item in watch.poll()] == ["a"]
    assert queue.requests == 2
    assert (watch.poll(), queue.messages) == ([], {})


def test_what_is_left_in_a_queue_asks_for_no_poll(poller: Any) -> None:
    queue = Forgetful("no notification")
    watch = watched(poller, queue)
    assert (watch.poll(), watch.answer.again, list(queue.messages)) == ([], False, ["m0"])


def test_messages_about_other_objects_count_towards_the_limit_too(poller: Any) -> None:
    queue = Forgetful(*(body(f"{number}.txt") for number in range(40)), body("wanted.csv"))
    watch = watched(poller, queue, suffix=".csv", limit=5)
    assert (watch.poll(), watch.answer.again, queue.requests) == ([], True, 1)
    assert [item.payload["key"] for item in watch.all()] == ["wanted.csv"]
    assert queue.messages == {}


class World:
    """A bucket, its queue, and what arrived."""

    def __init__(self, bucket: Any) -> None:
        self.bucket = type(bucket)(bucket.url)
        self.queue = self.bucket.queue(visibility=0)
        self.arrivals: list[tuple[str, int]] = []
        self.left = 0

    def put(self, which: int) -> None:
        key = f"ä {which}.csv"
        self.bucket.put(key, body="x" * (len(self.arrivals) + 1))
        self.arrivals.append((key, len(self.arrivals) + 1))

    def delete(self, which: int) -> None:
        self.bucket.delete(f"ä {which}.csv")

    def other(self, which: int) -> None:
        self.bucket.put(f"{which}.txt")

    def junk(self, which: int) -> None:
        if self.left < 2:
            self.bucket.queues.send_message(QueueUrl=self.queue, MessageBody='{"no": "notification"}')
            self.left += 1

    def twice(self, which: int) -> None:
        """What the queue holds, told once more by messages of their own."""
        told = self.bucket.queues.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=1)
        for message in told.get("Messages", ()):
            if "Records" in message["Body"]:
                self.bucket.queues.send_message(QueueUrl=self.queue, MessageBody=message["Body"])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "put", "put", "delete", "other", "junk", "twice", "poll", "poll", "lose", "restart", "down"]
        ),
        st.integers(0, 3),
    ),
    max_size=14,
)


@pytest.mark.property
@settings(QUICK, max_examples=20)
@given(steps=STEPS, limit=st.sampled_from([1, 3, 1000]))
def test_the_runs_are_the_objects_that_were_told_of(
    bucket: Any, proxy: Any, poller: Any, monkeypatch: pytest.MonkeyPatch, steps: Any, limit: int
) -> None:
    """Puts, deletions, messages that come twice or are none, a network that is cut, answers that were lost, restarts.

    What was read and not deleted is shown again at once, as after any visibility timeout.
    """
    import boto3
    from botocore.config import Config

    monkeypatch.setattr(notices, "_WAIT", 0)
    world = World(bucket)
    keys = {name: value for name, value in world.bucket.options.items() if name.startswith(("aws", "region"))}
    once = Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=5)
    client = boto3.client("sqs", endpoint_url=f"http://127.0.0.1:{proxy.port}", config=once, **keys)
    options: dict[str, Any] = {"bucket": world.bucket.name, "queue_url": world.queue, "queue_client": client}
    options |= {"suffix": ".csv", "limit": limit}
    watch = poller(S3FileArrival(**options))
    runs: list[tuple[str, int]] = []
    for step, which in [*steps, ("poll", 0), ("poll", 0)]:
        if step == "poll":
            runs += [(item.payload["key"], item.payload["size"]) for item in watch.all()]
        elif step == "lose":
            watch.sensor.poll(watch.state)
        elif step == "restart":
            watch.sensor = S3FileArrival(**options)
        elif step == "down":
            with proxy.down(), pytest.raises(PollError) as caught:
                watch.poll()
            assert caught.value.code == "network_error"
        else:
            getattr(world, step)(which)
    client.close()
    assert sorted(runs) == sorted(world.arrivals)
    assert world.bucket.waiting(world.queue) == (world.left, 0)
