"""Reads see one snapshot, never wait for the writer, and answer once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowstone.errors import RuntimeStopped
from flowstone.state.connection import Connection
from flowstone.state.database import Database

Numbers = Callable[[], list[int]]


def count(connection: Connection) -> int:
    return int(connection.execute("select count(*) as n from number")[0].n)


def add_one(connection: Connection) -> None:
    connection.execute("insert into number select coalesce(max(n), 0) + 1 from number")


def test_a_read_sees_what_was_committed_before(database: Database, numbers: Numbers) -> None:
    database.transact(add_one)
    assert database.read(count) == 1


def test_a_read_sees_one_snapshot_however_many_statements_it_has(database: Database, numbers: Numbers) -> None:
    def query(connection: Connection) -> tuple[int, int]:
        before = count(connection)
        database.transact(add_one)
        return before, count(connection)

    assert database.read(query) == (0, 0)
    assert database.read(count) == 1


def test_a_read_does_not_wait_for_a_transaction_under_way(database: Database, numbers: Numbers, held: Any) -> None:
    writing = held(database)
    assert database.read(count) == 0
    writing.let_go()


def test_reads_within_reads_have_connections_of_their_own(database: Database, numbers: Numbers) -> None:
    assert database.read(lambda _outer: database.read(count)) == 0


def test_a_read_that_fails_raises_and_the_next_one_works(database: Database, numbers: Numbers) -> None:
    def fail(connection: Connection) -> None:
        count(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.read(fail)
    database.transact(add_one)
    assert database.read(count) == 1


def test_a_later_read_answers_on_a_thread_of_the_readers(database: Database, numbers: Numbers, answer: Any) -> None:
    done, threads = answer(), []

    def then(outcome: Any) -> None:
        threads.append(threading.current_thread().name)
        done(outcome)

    database.read_later(count, then)
    assert done.wait().value == 0
    assert "-reader-" in threads[0]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)], ids=lambda error: type(error).__name__)
def test_a_later_read_that_fails_is_an_answer(
    database: Database, numbers: Numbers, answer: Any, error: BaseException
) -> None:
    def fail(_connection: Connection) -> None:
        raise error

    done = answer()
    database.read_later(fail, done)
    assert done.wait().error is error
    again = answer()
    database.read_later(count, again)
    assert again.wait().value == 0


def test_an_answer_that_raises_harms_nobody(
    database: Database, numbers: Numbers, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_outcome: object) -> None:
        raise SystemExit(1)

    for _ in range(4):
        database.read_later(count, refuse)
    done = answer()
    database.read_later(count, done)
    assert done.wait().value == 0


def test_a_later_read_that_is_slow_does_not_delay_another(database: Database, numbers: Numbers, answer: Any) -> None:
    go, slow, quick = threading.Event(), answer(), answer()
    database.read_later(lambda _connection: go.wait(20), slow)
    database.read_later(count, quick)
    assert quick.wait().value == 0
    go.set()
    assert slow.wait().value is True


def test_closing_answers_what_is_queued_and_then_refuses(url: str, answer: Any) -> None:
    database, answers = Database.open(url), [answer() for _ in range(50)]
    for then in answers:
        database.read_later(lambda connection: connection.execute("select 1 as n")[0].n, then)
    database.close()
    assert [done.wait().value for done in answers] == [1] * 50
    with pytest.raises(RuntimeStopped):
        database.read_later(count, answer())
    with pytest.raises(RuntimeStopped):
        database.read(count)


def test_once_settled_what_was_queued_is_answered_and_callers_go_on_reading(
    database: Database, numbers: Numbers, answer: Any
) -> None:
    answers = [answer() for _ in range(20)]
    for told in answers:
        database.read_later(count, told)
    database.settle_reads()
    database.settle_reads()
    assert all(told.outcomes for told in answers)
    with pytest.raises(RuntimeStopped, match="about to be closed"):
        database.read_later(count, answer())
    database.transact(add_one)
    assert database.read(count) == 1


def test_a_read_under_way_survives_closing(url: str) -> None:
    database = Database.open(url)

    def query(connection: Connection) -> int:
        database.close()
        return int(connection.execute("select 1 as n")[0].n)

    assert database.read(query) == 1


def test_an_answer_may_close_the_store(url: str, answer: Any) -> None:
    database, done = Database.open(url), answer()

    def then(outcome: Any) -> None:
        database.close()
        done(outcome)

    database.read_later(lambda _connection: 1, then)
    assert done.wait().value == 1


def test_work_in_flight_counts_later_reads(url: str, work: Any, answer: Any) -> None:
    with Database.open(url, work=work) as database:
        done = answer()
        database.read_later(lambda _connection: work.pending(), done)
        assert done.wait().value == ["store read"]
    assert work.pending() == []


@pytest.mark.concurrent
def test_many_threads_read_while_one_writes(database: Database, numbers: Numbers) -> None:
    backward: list[tuple[int, int]] = []
    stop = threading.Event()

    def read() -> None:
        last = 0
        while not stop.is_set():
            now = database.read(count)
            if now < last:
                backward.append((last, now))
            last = now

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        database.transact(add_one)
    stop.set()
    for thread in threads:
        thread.join()
    assert backward == []
    assert database.read(count) == 200
