"""Queues: pgmq's names and meaning, the same on every database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from flowstone.connectors.message import LARGEST, Message
from flowstone.connectors.queue_calls import Queue
from flowstone.errors import ValidationError
from flowstone.state.database import Database

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def queue(database: Database) -> Queue:
    made = Queue(database)
    made.create("orders")
    return made


def texts(messages: list[Message]) -> list[object]:
    return [message.message for message in messages]


def test_what_was_sent_is_read_in_order_with_the_columns_of_pgmq(queue: Queue) -> None:
    ids = [queue.send("orders", {"n": n}, headers={"who": "ada"}) for n in range(3)]
    first, second = queue.read("orders", vt=30, qty=2)
    assert (first.msg_id, first.read_ct, first.message, first.headers) == (ids[0], 1, {"n": 0}, {"who": "ada"})
    assert first.enqueued_at.tzinfo is not None and first.vt > first.enqueued_at
    assert second.msg_id == ids[1]
    assert texts(queue.read("orders", vt=30, qty=9)) == [{"n": 2}]
    assert queue.read("orders", vt=30, qty=9) == []


def test_a_batch_keeps_its_order_and_gets_ids_that_grow(queue: Queue) -> None:
    ids = queue.send_batch("orders", [{"n": n} for n in range(12)])
    assert ids == sorted(set(ids)) and len(ids) == 12
    assert texts(queue.read("orders", vt=5, qty=12)) == [{"n": n} for n in range(12)]
    assert queue.send_batch("orders", []) == []


def test_a_message_is_visible_again_after_its_timeout_and_counts_its_readings(queue: Queue) -> None:
    id = queue.send("orders", "once more")
    assert [message.read_ct for message in queue.read("orders", vt=0)] == [1]
    assert [(message.msg_id, message.read_ct) for message in queue.read("orders", vt=60)] == [(id, 2)]
    assert queue.read("orders", vt=60) == []


def test_set_vt_makes_a_message_visible_sooner_or_later(queue: Queue) -> None:
    id = queue.send("orders", {})
    assert queue.read("orders", vt=600)
    found = queue.set_vt("orders", id, 0)
    assert found is not None and found.msg_id == id
    assert queue.read("orders", vt=0)
    later = queue.set_vt("orders", id, 900)
    assert later is not None and later.vt > found.vt
    assert queue.read("orders", vt=0) == []
    assert queue.set_vt("orders", id + 1000, 0) is None


def test_a_delayed_message_is_not_visible_before(queue: Queue) -> None:
    queue.send("orders", "later", delay="1h")
    assert queue.read("orders") == []
    assert queue.metrics("orders").queue_length == 1
    assert queue.metrics("orders").queue_visible_length == 0


def test_pop_takes_a_message_out_for_good(queue: Queue) -> None:
    queue.send_batch("orders", ["a", "b", "c"])
    first = queue.pop("orders")
    assert first is not None and first.message == "a"
    assert texts(queue.pop("orders", qty=5)) == ["b", "c"]
    assert queue.pop("orders") is None
    assert queue.metrics("orders").queue_length == 0


def test_archive_and_delete_tell_whether_the_message_was_there(queue: Queue) -> None:
    ids = queue.send_batch("orders", ["a", "b", "c", "d"])
    assert queue.archive("orders", ids[0]) is True
    assert queue.archive("orders", ids[0]) is False
    assert queue.delete("orders", ids[1]) is True
    assert queue.delete("orders", ids[1]) is False
    assert queue.archive("orders", [ids[2], 10_000]) == [ids[2]]
    assert queue.delete("orders", [ids[2], ids[3]]) == [ids[3]]
    assert queue.metrics("orders").queue_length == 0
    assert queue.metrics("orders").total_messages == 4


def test_metrics_count_what_is_there_and_what_is_visible(queue: Queue) -> None:
    empty = queue.metrics("orders")
    assert (empty.queue_length, empty.total_messages, empty.newest_msg_age_sec) == (0, 0, None)
    queue.send_batch("orders", [1, 2, 3])
    queue.read("orders", vt=60)
    found = queue.metrics("orders")
    assert (found.queue_length, found.queue_visible_length, found.total_messages) == (3, 2, 3)
    assert found.oldest_msg_age_sec is not None and found.oldest_msg_age_sec >= 0
    assert found.scrape_time.tzinfo is not None


def test_queues_are_apart_and_listed_by_name(queue: Queue) -> None:
    queue.create("another")
    queue.create("another")
    queue.send("another", "mine")
    assert [row.name for row in queue.list_queues()] == ["another", "orders"]
    assert queue.read("orders") == []
    assert queue.send("orders", "first") == 1


def test_a_dropped_queue_is_gone_with_all_that_was_in_it(queue: Queue) -> None:
    queue.send("orders", "lost")
    assert queue.drop_queue("orders") is True
    assert queue.drop_queue("orders") is False
    with pytest.raises(ValidationError, match="'orders'"):
        queue.read("orders")
    queue.create("orders")
    assert queue.read("orders") == []
    assert queue.send("orders", "new") == 1


def test_purge_empties_a_queue(queue: Queue) -> None:
    queue.send_batch("orders", [1, 2])
    assert queue.purge_queue("orders") == 2
    assert queue.metrics("orders").queue_length == 0


def test_read_with_poll_gives_what_is_there_or_nothing_in_the_end(queue: Queue) -> None:
    assert queue.read_with_poll("orders", timeout=0) == []
    queue.send("orders", "here")
    assert texts(queue.read_with_poll("orders", timeout=20)) == ["here"]


@pytest.mark.concurrent
def test_exactly_one_of_many_readers_sees_a_message_within_its_timeout(queue: Queue) -> None:
    queue.send_batch("orders", list(range(200)))

    def drain(_reader: int) -> list[object]:
        seen: list[object] = []
        while found := queue.read("orders", vt=600, qty=7):
            seen += texts(found)
        return seen

    with ThreadPoolExecutor(8) as readers:
        seen = [n for part in readers.map(drain, range(8)) for n in part]
    assert sorted(map(str, seen)) == sorted(map(str, range(200)))


@pytest.mark.parametrize("name", ["", "Orders", "a-b", "x" * 48, "q; drop table run", 'q"', "orders'--", None, 3])
def test_a_name_that_is_not_legal_is_refused_and_nothing_is_written(queue: Queue, name: object) -> None:
    with pytest.raises(ValidationError, match="name of a queue"):
        queue.create(name)  # type: ignore[arg-type]
    assert [row.name for row in queue.list_queues()] == ["orders"]


def test_a_queue_that_was_never_created_is_named_with_the_one_that_was_meant(queue: Queue) -> None:
    with pytest.raises(ValidationError, match="'ordrs'.*did you mean 'orders'"):
        queue.send("ordrs", {})


@pytest.mark.parametrize("message", [object(), {1, 2}, float("nan"), "a\0b", {"k\0": 1}, "x" * (LARGEST + 1), NOON])
def test_a_message_that_cannot_be_kept_is_refused_and_nothing_is_written(queue: Queue, message: object) -> None:
    with pytest.raises(ValidationError):
        queue.send_batch("orders", ["good", message])
    assert queue.metrics("orders").queue_length == 0


@pytest.mark.parametrize(
    "message", [None, 0, "", [], {}, "ünïcode 😀", {"deep": [{"er": [1.5, True, None]}]}, "a\"b'c:d"]
)
def test_a_message_comes_back_as_it_was(queue: Queue, message: object) -> None:
    queue.send("orders", message)
    assert texts(queue.read("orders")) == [message]


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.read("orders", vt=-1),
        lambda queue: queue.read("orders", qty=0),
        lambda queue: queue.send("orders", 1, delay="soon"),
        lambda queue: queue.set_vt("orders", "1", 0),
        lambda queue: queue.archive("orders", True),
        lambda queue: queue.pop("orders", 0),
    ],
)
def test_options_that_make_no_sense_are_refused(queue: Queue, call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValidationError):
        call(queue)
