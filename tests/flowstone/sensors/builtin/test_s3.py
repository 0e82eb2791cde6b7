"""Objects that arrive in a bucket: each once, whatever the order of keys and clocks."""

from __future__ import annotations

import itertools
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.errors import ValidationError
from flowstone.sensors import NoTrigger, PollError, S3FileArrival, SensorSpec
from flowstone.sensors.surroundings import ALONE

HOUR, DAY = 3600.0, 86_400.0


def keys(items: Any) -> list[str]:
    return [item.payload["key"] for item in items]


class Store:
    """Surroundings whose store knows what a poller committed."""

    def __init__(self, poller: Any = None) -> None:
        self.poller = poller
        self.asked = 0

    def now(self) -> Any:
        return ALONE.now()

    def known(self, wanted: Any) -> frozenset[str]:
        listed = list(wanted)
        self.asked += len(listed)
        known: frozenset[str] = self.poller.known(listed)
        return known

    def events(self, asset: str, after: int, limit: int, *, start: int = 0) -> None:
        return None

    def last_event(self, asset: str) -> int:
        return 0

    def wake(self) -> None:
        return None


def stored(poller: Any, sensor: S3FileArrival) -> Any:
    """A poller whose sensor asks a store."""
    store = Store()
    store.poller = poller(sensor, store)
    return store.poller


def test_initializes_with_config(bucket: Any) -> None:
    sensor = S3FileArrival(prefix="data/", partition=len, **bucket.options)
    assert (sensor.bucket, sensor.prefix) == (bucket.name, "data/")
    assert sensor.init()["recent"] == []


def test_triggers_on_new_file_arrival(bucket: Any) -> None:
    bucket.put("events/2025-01-15/data.parquet")
    sensor = S3FileArrival(prefix="events/", partition=lambda key: date(2025, 1, 15), **bucket.options)
    answer: Any = sensor.poll(sensor.init())
    assert [item.partition for item in answer.items] == [date(2025, 1, 15)]
    assert len(answer.state["recent"]) == 1
    (payload,) = [item.payload for item in answer.items]
    assert (payload["bucket"], payload["size"], payload["etag"]) == (bucket.name, 1, "c4ca4238a0b923820dcc509a6f75849b")


def test_does_not_trigger_when_no_new_files(bucket: Any) -> None:
    bucket.put("data/file1.txt")
    sensor = S3FileArrival(prefix="data/", **bucket.options)
    first: Any = sensor.poll(sensor.init())
    assert isinstance(sensor.poll(first.state), NoTrigger)


def test_extracts_date_from_key_path(bucket: Any, poller: Any) -> None:
    bucket.put("events/2025-01-20/batch1.parquet", "events/2025-99-99/2025-01-21", "events/plain.csv")
    items = poller(S3FileArrival(prefix="events/", **bucket.options)).poll()
    assert [item.partition for item in items] == ["2025-01-20", "2025-01-21", "events/plain.csv"]


def test_handles_s3_errors_gracefully(aws_url: str) -> None:
    sensor = S3FileArrival(bucket="nowhere", endpoint_url="http://127.0.0.1:9", region_name="us-east-1")
    state = sensor.init()
    with pytest.raises(PollError) as caught:
        S3FileArrival(bucket="nowhere", endpoint_url=aws_url, region_name="us-east-1",
                      aws_access_key_id="a", aws_secret_access_key="hunter2").poll(sensor.init())
    assert (caught.value.code, caught.value.reason) == ("no_such_bucket", "bucket 'nowhere' does not exist")
    assert state["recent"] == []


def test_poll_completes_within_timeout(listing: Any, poller: Any) -> None:
    room = listing()
    for number in range(1000):
        room.put(f"file_{number}.txt")
    watch = poller(S3FileArrival(bucket="b", client=room))
    assert len(watch.poll()) == 1000
    assert watch.poll() == []


@pytest.mark.parametrize("key", ["a b+c%20d.csv", "ünï/cödé-日本.csv", "a&b=c?d.csv", "x%2Fy.csv"])
@pytest.mark.parametrize("order", ["any", "growing"])
def test_any_key_arrives_once_under_its_own_name(bucket: Any, poller: Any, key: str, order: str) -> None:
    bucket.put("0", key)
    watch = poller(S3FileArrival(order=order, partition=lambda key: None, **bucket.options))
    assert keys(watch.poll()) == ["0", key]
    bucket.put(key + "2")
    assert keys(watch.poll()) == [key + "2"]


def test_other_content_and_a_key_put_again_arrive_once_more(bucket: Any, poller: Any) -> None:
    watch = poller(S3FileArrival(**bucket.options))
    bucket.put("a", "b")
    assert keys(watch.poll()) == ["a", "b"]
    bucket.put("a", body="2")
    assert keys(watch.poll()) == ["a"]
    bucket.delete("b")
    assert watch.poll() == []
    bucket.put("b")
    assert keys(watch.poll()) == ["b"]
    assert watch.poll() == []


def test_a_multipart_upload_arrives_when_it_is_complete(bucket: Any, poller: Any) -> None:
    watch = poller(S3FileArrival(**bucket.options))
    upload = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="big")["UploadId"]
    bucket.put("small")
    assert keys(watch.poll()) == ["small"]
    where = {"Bucket": bucket.name, "Key": "big", "UploadId": upload}
    part = bucket.client.upload_part(**where, PartNumber=1, Body=b"1")
    parts = [{"ETag": part["ETag"], "PartNumber": 1}]
    bucket.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    (item,) = watch.poll()
    assert (item.payload["key"], item.payload["etag"][-2:]) == ("big", "-1")


@pytest.mark.parametrize("with_store", [True, False])
def test_an_object_that_becomes_visible_in_the_past_arrives(listing: Any, poller: Any, with_store: bool) -> None:
    room = listing()
    sensor = S3FileArrival(bucket="b", client=room)
    watch = stored(poller, sensor) if with_store else poller(sensor)
    room.put("new")
    assert keys(watch.poll()) == ["new"]
    room.put("late", at=room.now - 20 * HOUR)
    room.put("ancient", at=room.now - 40 * HOUR)
    assert keys(watch.poll()) == ["late"]
    assert watch.poll() == []


def test_an_object_from_the_future_mutes_nobody(listing: Any, poller: Any) -> None:
    room = listing()
    watch = stored(poller, S3FileArrival(bucket="b", client=room, lookback="1h"))
    room.put("skewed", at=room.now + 10 * DAY)
    assert keys(watch.poll()) == ["skewed"]
    room.now += 100
    room.put("a")
    assert keys(watch.poll()) == ["a"]


def test_without_the_service_s_time_the_objects_tell_it(listing: Any, poller: Any) -> None:
    room = listing()
    room.dated = False
    watch = poller(S3FileArrival(bucket="b", client=room, min_age="1h"))
    room.put("a")
    assert keys(watch.poll()) == ["a"]


def test_many_objects_of_one_instant_arrive_once_each(listing: Any, poller: Any) -> None:
    room = listing(page=100)
    watch = stored(poller, S3FileArrival(bucket="b", client=room, limit=150))
    for number in range(450):
        room.put(f"{number:04}")
    first = watch.poll()
    assert (len(first), watch.answer.again) == (150, True)
    rest = watch.all()
    assert len({*keys(first), *keys(rest)}) == 450
    room.put("0000-between")
    assert keys(watch.all()) == ["0000-between"]
    assert len(watch.cursor) < 10_000


def test_a_quiet_poll_asks_the_store_nothing(listing: Any, poller: Any) -> None:
    room = listing()
    for number in range(500):
        room.put(f"{number:04}")
    watch = stored(poller, S3FileArrival(bucket="b", client=room))
    watch.poll()
    asked = watch.sensor._around.asked
    assert watch.poll() == []
    assert watch.sensor._around.asked == asked


def test_the_cursor_stays_small_however_long_the_bucket_lives(listing: Any, poller: Any) -> None:
    room = listing(page=50)
    watch = stored(poller, S3FileArrival(bucket="b", client=room, limit=100, lookback="1h"))
    for step in range(120):
        room.now += 600
        for number in range(5):
            room.put(f"{(step * 7919) % 1000:03}-{number}-{step}")
        assert len(watch.all()) == 5
        assert len(watch.cursor) < 10_000


def test_the_rest_of_a_long_listing_is_taken_by_the_next_poll(listing: Any, poller: Any) -> None:
    room = listing(page=10)
    watch = stored(poller, S3FileArrival(bucket="b", client=room, max_requests=3))
    for number in range(75):
        room.put(f"{number:02}")
    assert [len(watch.poll()), watch.answer.again] == [30, True]
    assert [len(watch.poll()), watch.answer.again] == [30, True]
    assert [len(watch.poll()), watch.answer.again] == [15, False]
    assert len(room.requests) == 8


def test_growing_keys_cost_what_is_new(listing: Any, poller: Any) -> None:
    room = listing(page=10)
    watch = poller(S3FileArrival(bucket="b", client=room, order="growing", max_requests=4, limit=25))
    for number in range(75):
        room.put(f"{number:02}")
    assert [len(watch.poll()), watch.answer.again] == [25, True]
    assert len(watch.all()) == 50
    room.requests.clear()
    room.put("75")
    assert (keys(watch.poll()), len(room.requests)) == (["75"], 1)
    assert (watch.poll(), watch.state["after"]) == ([], "75")


def test_growing_keys_stop_at_the_page_limit(listing: Any, poller: Any) -> None:
    room = listing(page=10)
    watch = poller(S3FileArrival(bucket="b", client=room, order="growing", max_requests=2))
    for number in range(30):
        room.put(f"{number:02}")
    assert [len(watch.poll()), watch.answer.again, len(watch.poll()), watch.answer.again] == [20, True, 10, False]


def test_young_objects_wait(listing: Any, poller: Any) -> None:
    room = listing()
    for order in ("any", "growing"):
        watch = poller(S3FileArrival(bucket="b", client=room, order=order, min_age="1m"))
        room.objects.clear()
        room.put("1")
        assert watch.poll() == []
        room.now += 50
        room.put("2")
        assert watch.poll() == []
        room.now += 15
        assert keys(watch.poll()) == ["1"]
        room.now += 50
        assert keys(watch.poll()) == ["2"]


def test_only_keys_that_match_count(bucket: Any, poller: Any) -> None:
    bucket.put("in/a.csv", "in/b.json", "in/c.txt", "in/", "out/d.csv")
    assert keys(poller(S3FileArrival(prefix="in/", suffix=(".csv", ".json"), **bucket.options)).poll()) == [
        "in/a.csv",
        "in/b.json",
    ]
    assert keys(poller(S3FileArrival(pattern="*/[cd].*", **bucket.options)).poll()) == ["in/c.txt", "out/d.csv"]
    assert keys(poller(S3FileArrival(suffix=".txt", **bucket.options)).poll()) == ["in/c.txt"]


def test_a_prefix_may_follow_the_time(listing: Any, poller: Any) -> None:
    room = listing(page=2)
    days = ["2025-01-14/", "2025-01-15/"]
    for order in ("any", "growing"):
        room.objects.clear()
        sensor = S3FileArrival(bucket="b", client=room, order=order, prefix=lambda now: [*days, "2025-01-15/x"])
        watch = poller(sensor)
        room.put("2025-01-13/a")
        room.put("2025-01-14/a")
        room.put("2025-01-15/xa")
        assert keys(watch.all()) == ["2025-01-14/a", "2025-01-15/xa"]
        room.put("2025-01-15/xb")
        assert keys(watch.all()) == ["2025-01-15/xb"]
    assert {one["Prefix"] for one in room.requests} == set(days)
    assert S3FileArrival(bucket="b", client=room, prefix=lambda now: "2025-01-13/")._prefixes() == ["2025-01-13/"]


@pytest.mark.parametrize("order", ["any", "growing"])
@pytest.mark.parametrize("count", [3, 450, 1200])
@pytest.mark.parametrize("with_store", [True, False])
def test_what_is_there_at_first_may_count_as_seen(
    listing: Any, poller: Any, order: str, count: int, with_store: bool
) -> None:
    room = listing(page=100)
    for number in range(count):
        room.put(f"{number:04}", at=room.now - number % 2)
    room.put("0000-old", at=room.now - 30 * DAY)
    sensor = S3FileArrival(bucket="b", client=room, order=order, existing="ignore", min_age="1s", limit=100)
    watch = stored(poller, sensor) if with_store else poller(sensor)
    room.now += 1
    room.put("9999")
    room.now += 2
    assert keys(watch.all()) == ["9999"]
    assert watch.all() == []
    room.put("99999")
    room.now += 2
    assert keys(watch.all()) == ["99999"] if with_store or count == 3 else "99999" in keys(watch.all())


def test_of_the_newest_instant_what_came_after_the_start_arrives(listing: Any, poller: Any) -> None:
    room = listing()
    for number in range(300):
        room.put(f"{number:04}")
    watch = stored(poller, S3FileArrival(bucket="b", client=room, existing="ignore"))
    room.put("9999")
    assert keys(watch.all()) == ["9999"]


def test_instants_are_read_in_any_form() -> None:
    from flowstone.sensors.builtin.s3.client import _instant

    forms = ["2025-01-15T12:00:00.000Z", "Wed, 15 Jan 2025 12:00:00 GMT"]
    assert {_instant(form).timestamp() for form in forms} == {1_736_942_400.0}


def test_an_empty_bucket_may_count_as_seen(listing: Any, poller: Any) -> None:
    room = listing()
    watch = poller(S3FileArrival(bucket="b", client=room, existing="ignore"))
    room.put("a")
    assert keys(watch.poll()) == ["a"]


@pytest.mark.parametrize("order", ["any", "growing"])
def test_what_does_not_match_counts_neither_at_first_nor_later(listing: Any, poller: Any, order: str) -> None:
    room = listing()
    room.put("a.csv")
    room.put("a.txt")
    watch = poller(S3FileArrival(bucket="b", client=room, order=order, existing="ignore", suffix=".csv"))
    room.put("b.csv")
    room.put("b.txt")
    assert keys(watch.poll()) == ["b.csv"]


def test_a_window_of_months_leaves_a_small_cursor(listing: Any, poller: Any) -> None:
    room = listing(page=50)
    watch = stored(poller, S3FileArrival(bucket="b", client=room, max_requests=2, lookback="1h"))
    for number in range(400):
        room.put(f"{number:04}", at=room.now - (400 - number) * HOUR)
    seen = watch.poll()
    while watch.answer.again:
        assert len(watch.cursor) < 12_000
        seen += watch.poll()
    assert (len(seen), watch.all()) == (400, [])


def test_another_prefix_begins_afresh(listing: Any, poller: Any) -> None:
    room = listing()
    room.put("in/a", at=room.now - 30 * DAY)
    room.put("out/a")
    watch = poller(S3FileArrival(bucket="b", client=room, prefix="out/"))
    assert keys(watch.poll()) == ["out/a"]
    watch.sensor = S3FileArrival(bucket="b", client=room)
    assert keys(watch.poll()) == ["in/a"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bucket": ""}, "bucket"),
        ({"bucket": "a/b"}, "bucket"),
        ({"prefix": 7}, "prefix"),
        ({"order": "growin"}, "did you mean 'growing'"),
        ({"existing": "ignored"}, "did you mean 'ignore'"),
        ({"suffix": ["", "a"]}, "suffix"),
        ({"pattern": ""}, "pattern"),
        ({"partition": "day"}, "partition"),
        ({"limit": 0}, "limit"),
        ({"max_requests": True}, "max_requests"),
        ({"queue_url": "queue"}, "queue_url"),
        ({"endpoint_url": "ftp://x"}, "endpoint_url"),
        ({"min_age": "2d"}, "min_age"),
        ({"lookback": "soon"}, "lookback"),
        ({"sufix": ".csv"}, "did you mean 'suffix'"),
        ({"partition_fn": str}, "did you mean 'partition'"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        S3FileArrival(**{"bucket": "b", **options})


class Refusal(Exception):
    """An error as botocore's."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code, status)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


ClientError = type("ClientError", (Refusal,), {})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClientError("NoSuchBucket"), "no_such_bucket"),
        (ClientError("AccessDenied"), "access_denied"),
        (ClientError("Strange", 403), "access_denied"),
        (ClientError("SlowDown"), "throttled"),
        (ClientError("Strange", 503), "throttled"),
        (ClientError("InternalError", 500), "s3_error:InternalError"),
        (type("NoCredentialsError", (Exception,), {})("none"), "no_credentials"),
        (type("ProfileNotFound", (Exception,), {})("none"), "bad_configuration"),
        (type("HTTPClientError", (Exception,), {})("cut"), "network_error"),
        (ConnectionResetError("cut"), "network_error"),
    ],
)
def test_an_error_has_a_code_and_keeps_the_state(listing: Any, poller: Any, error: Exception, code: str) -> None:
    room = listing()
    watch = poller(S3FileArrival(bucket="b", client=room))
    room.put("a")
    room.errors.append(error)
    with pytest.raises(PollError) as caught:
        watch.poll()
    assert caught.value.code == code
    assert keys(watch.poll()) == ["a"]


def test_an_error_of_another_kind_is_itself(listing: Any, poller: Any) -> None:
    room = listing()
    room.errors.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        poller(S3FileArrival(bucket="b", client=room)).poll()


def test_a_service_that_is_not_there_is_a_network_error() -> None:
    options = {"aws_access_key_id": "key", "aws_secret_access_key": "hunter2", "region_name": "us-east-1"}
    sensor = S3FileArrival(bucket="b", endpoint_url="http://127.0.0.1:9", **options)
    sensor._connections.client("s3").meta.config.retries["max_attempts"] = 0
    with pytest.raises(PollError) as caught:
        sensor.poll(sensor.init())
    assert caught.value.code == "network_error"


def test_secrets_are_masked(bucket: Any) -> None:
    shown = json.dumps(SensorSpec("s", S3FileArrival(**bucket.options), target="raw").config)
    assert "hunter2" not in shown
    assert bucket.name in shown


def test_a_queue_tells_of_arrivals(bucket: Any, poller: Any) -> None:
    url = bucket.queue()
    watch = poller(S3FileArrival(queue_url=url, suffix=".csv", **bucket.options))
    assert watch.poll() == []
    bucket.put("ä b+c.csv", "other.txt")
    (item,) = watch.poll()
    assert (item.payload["key"], item.payload["size"]) == ("ä b+c.csv", 1)
    assert sum(bucket.waiting(url)) >= 2
    assert watch.poll() == []
    assert bucket.waiting(url) == (0, 0)


def test_messages_of_an_answer_that_was_not_committed_are_shown_again(bucket: Any, poller: Any) -> None:
    url = bucket.queue()
    watch = poller(S3FileArrival(queue_url=url, **bucket.options))
    bucket.put("a")
    before = watch.cursor
    assert keys(watch.poll()) == ["a"]
    watch.cursor = before
    watch.poll()
    hidden = bucket.waiting(url)
    assert sum(hidden) >= 1
    restarted = poller(S3FileArrival(queue_url=url, **bucket.options))
    restarted.cursor = watch.cursor
    restarted.poll()
    assert sum(bucket.waiting(url)) == sum(hidden)


RECORD = {
    "eventName": "ObjectCreated:Put",
    "eventTime": "2025-01-15T12:00:00.000Z",
    "s3": {"bucket": {"name": "b"}, "object": {"key": "a+b", "size": 3, "eTag": "e", "sequencer": "1"}},
}
EVENT = {
    "detail-type": "Object Created",
    "time": "2025-01-15T12:00:00Z",
    "detail": {"bucket": {"name": "b"}, "object": {"key": "a+b", "size": 3, "etag": "e", "version-id": "1"}},
}


class Queue:
    """A queue made by hand."""

    def __init__(self, *bodies: str) -> None:
        self.bodies = list(bodies)
        self.deleted: list[str] = []
        self.handles = map(str, itertools.count())

    def receive_message(self, **wanted: Any) -> dict[str, Any]:
        some, self.bodies = self.bodies[:10], self.bodies[10:]
        return {"Messages": [{"Body": body, "ReceiptHandle": next(self.handles)} for body in some]} if some else {}

    def delete_message_batch(self, QueueUrl: str, Entries: Any) -> None:  # noqa: N803 - the service's names
        self.deleted += [entry["ReceiptHandle"] for entry in Entries]


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ({"Records": [RECORD]}, "a b"),
        ({"TopicArn": "t", "Message": json.dumps({"Records": [RECORD]})}, "a b"),
        (EVENT, "a+b"),
        ({"Event": "s3:TestEvent"}, None),
        ({"detail-type": "Object Deleted"}, None),
        ({"Records": [{"eventName": "ObjectRemoved:Delete"}]}, None),
        ({"Records": [{**RECORD, "s3": {**RECORD["s3"], "bucket": {"name": "other"}}}]}, None),
    ],
)
def test_notifications_come_in_several_forms(poller: Any, message: Any, key: str | None) -> None:
    queue = Queue(json.dumps(message))
    watch = poller(S3FileArrival(bucket="b", queue_url="https://sqs/q", queue_client=queue))
    assert keys(watch.poll()) == ([] if key is None else [key])
    watch.poll()
    assert queue.deleted == ["0"]


@pytest.mark.parametrize("body", ["no json", "7", "[]", '{"Records": 7}', '{"other": 1}', '"Message"'])
def test_a_message_that_is_no_notification_is_left_to_the_queue(poller: Any, body: str) -> None:
    queue = Queue(body)
    watch = poller(S3FileArrival(bucket="b", queue_url="https://sqs/q", queue_client=queue))
    assert (watch.poll(), watch.poll(), queue.deleted) == ([], [], [])


def test_a_full_queue_is_read_on_at_once(poller: Any) -> None:
    def body(number: int) -> str:
        told: Any = json.loads(json.dumps(RECORD))
        told["s3"]["object"]["key"] = str(number)
        return json.dumps({"Records": [told]})

    queue = Queue(*map(body, range(35)))
    watch = poller(S3FileArrival(bucket="b", queue_url="https://sqs/q", queue_client=queue, limit=12))
    counts = [(len(watch.poll()), watch.answer.again) for _ in range(4)]
    assert counts[0] == (12, True)
    assert len(watch.committed) == 12 + sum(count for count, _ in counts[1:])


def test_only_so_many_uncommitted_answers_are_remembered(poller: Any) -> None:
    sensor = S3FileArrival(bucket="b", queue_url="https://sqs/q", queue_client=Queue())
    notices: Any = sensor._notices
    tokens = [notices._kept(["handle"]) for _ in range(12)]
    assert list(notices._batches) == tokens[-8:]


def test_a_queue_that_is_not_there_says_so(bucket: Any, poller: Any) -> None:
    watch = poller(S3FileArrival(queue_url=f"{bucket.url}/123456789012/nowhere", **bucket.options))
    with pytest.raises(PollError) as caught:
        watch.poll()
    assert caught.value.code == "no_such_queue"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "late", "delete", "tick", "poll", "fail", "lose", "restart"]),
        st.integers(0, 6),
        st.integers(0, 2),
    ),
    max_size=40,
)


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([3, 1000]), st.sampled_from([1, 2, 1000]))
def test_the_runs_are_the_arrivals(listing: Any, poller: Any, steps: Any, page: int, most: int) -> None:
    """Puts, late puts, deletions, faults, answers that were lost, restarts: each arrival that a listing shows, once."""
    room = listing(page=page)
    options: dict[str, Any] = {"bucket": "b", "client": room, "limit": max(2, most), "max_requests": most}
    watch = stored(poller, S3FileArrival(**options))
    runs: list[str] = []
    arrivals: list[tuple[str, str, float]] = []
    unique = 0
    for step, which, body in steps:
        key = f"k{which}"
        if step in ("put", "late"):
            unique += 1
            room.put(key, f"{body}.{unique}", at=room.now - (HOUR * which if step == "late" else 0))
            arrivals = [one for one in arrivals if one[0] != key or identity(one) in runs]
            arrivals.append((key, *room.objects[key]))
        elif step == "delete":
            room.objects.pop(key, None)
            arrivals = [one for one in arrivals if one[0] != key or identity(one) in runs]
        elif step == "tick":
            room.now += 600
        elif step == "fail":
            room.errors.append(ConnectionResetError())
            with pytest.raises(PollError):
                watch.poll()
        elif step == "lose":
            watch.sensor.poll(watch.state)
        elif step == "restart":
            watch.sensor = S3FileArrival(**options).within(watch.sensor._around)
        else:
            runs += [str(item.key) for item in watch.all()]
    runs += [str(item.key) for item in [*watch.all(), *watch.all()]]
    assert sorted(runs) == sorted(identity(one) for one in arrivals)


def identity(arrival: tuple[str, str, float]) -> str:
    key, etag, at = arrival
    return f"b/{key}:{etag}:{at:.3f}"


def test_a_bucket_under_a_runtime(bucket: Any, room: Any) -> None:
    sensor = S3FileArrival(partition=lambda key: key[:2], **bucket.options)
    room.open(SensorSpec("orders", sensor, every="30s", target="raw"))
    bucket.put("eu/1", "eu/2", "us/1")
    assert room.sensors.poll("orders").request_count == 3
    bucket.put("eu/3")
    evaluation = room.sensors.poll("orders")
    assert (evaluation.request_count, evaluation.duplicate_count) == (1, 0)
    assert room.sensors.poll("orders").status == "no_trigger"
    assert sorted(partition for _, _, partition in room.published) == ["eu", "eu", "eu", "us"]
