"""Transactions share commits, fail alone, and are acknowledged after the commit; nothing ends the writer."""

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flowstone.errors import RuntimeStopped, StoreUnavailable
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.writer import GROUP_LIMIT

Numbers = Callable[[], list[int]]
Transaction = Callable[[Connection], Any]

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def add(number: int) -> Transaction:
    def transaction(connection: Connection) -> int:
        connection.execute("insert into number values (:number)", number=number)
        return number

    return transaction


def add_and_fail(number: int, error: BaseException) -> Transaction:
    def transaction(connection: Connection) -> None:
        connection.execute("insert into number values (:number)", number=number)
        raise error

    return transaction


def test_a_transaction_gives_its_value_after_the_commit(database: Database, numbers: Numbers) -> None:
    assert database.transact(add(1)) == 1
    assert numbers() == [1]


def test_an_acknowledgement_comes_after_the_commit(database: Database, numbers: Numbers, answer: Any) -> None:
    seen: list[list[int]] = []
    done = answer()

    def then(outcome: Any) -> None:
        seen.append(numbers())
        done(outcome)

    database.write(add(1), then)
    done.wait()
    assert seen == [[1]]


def test_transactions_that_wait_together_share_one_commit(
    database: Database, numbers: Numbers, held: Any, answer: Any
) -> None:
    group, answers = held(database), [answer() for _ in range(3)]
    seen: list[list[int]] = []

    def look(connection: Connection) -> None:
        seen.append([row.n for row in connection.execute("select n from number")])
        seen.append(numbers())

    database.write(add(1), answers[0])
    database.write(look, answers[1])
    database.write(add(2), answers[2])
    group.let_go()
    assert [done.wait().error for done in answers] == [None, None, None]
    assert seen == [[1], []], "the second sees what the first wrote, which no reader does yet"


def test_acknowledgements_keep_the_order_of_the_transactions(
    database: Database, numbers: Numbers, held: Any, answer: Any
) -> None:
    group, last, order = held(database), answer(), []
    for number in range(GROUP_LIMIT + 20):
        database.write(add(number), lambda outcome: order.append(outcome.value))
    database.write(add(-1), last)
    group.let_go()
    last.wait()
    assert order == list(range(GROUP_LIMIT + 20))


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
def test_one_that_fails_fails_alone(
    database: Database, numbers: Numbers, held: Any, answer: Any, error: BaseException
) -> None:
    group, answers = held(database), [answer() for _ in range(3)]
    for transaction, then in zip([add(1), add_and_fail(2, error), add(3)], answers, strict=True):
        database.write(transaction, then)
    group.let_go()
    assert [done.wait().error for done in answers] == [None, error, None]
    assert numbers() == [1, 3]


def test_one_that_fails_leaves_no_trace_when_it_is_the_only_one(database: Database, numbers: Numbers) -> None:
    with pytest.raises(ValueError, match="no"):
        database.transact(add_and_fail(1, ValueError("no")))
    assert numbers() == []


@on_sqlite
def test_when_the_connection_leaves_its_transaction_each_is_run_again_alone(
    database: Database, numbers: Numbers, held: Any, answer: Any
) -> None:
    calls: list[str] = []

    def counted(name: str, transaction: Transaction) -> Transaction:
        def call(connection: Connection) -> Any:
            calls.append(name)
            return transaction(connection)

        return call

    def leave(connection: Connection) -> None:
        connection.execute("insert into number values (7)")
        connection.execute("insert or rollback into number values (7)")

    group, answers = held(database), [answer() for _ in range(3)]
    database.write(counted("first", add(1)), answers[0])
    database.write(counted("leaves", leave), answers[1])
    database.write(counted("last", add(3)), answers[2])
    group.let_go()
    outcomes = [done.wait() for done in answers]
    assert [outcomes[0].value, outcomes[2].value] == [1, 3]
    assert isinstance(outcomes[1].error, sqlite3.IntegrityError)
    assert [len(done.outcomes) for done in answers] == [1, 1, 1]
    assert numbers() == [1, 3]
    together, in_savepoints, alone = ["first", "leaves"], ["first", "leaves"], ["first", "leaves", "last"]
    assert calls == [*together, *in_savepoints, *alone]


@on_sqlite
def test_a_full_store_refuses_what_does_not_fit_and_takes_the_rest(
    database: Database, numbers: Numbers, held: Any, answer: Any
) -> None:
    def limit(connection: Connection) -> None:
        pages = connection.execute("pragma page_count")[0][0]
        connection.execute(f"pragma max_page_count = {pages + 4}")

    def fill(connection: Connection) -> None:
        connection.execute("insert into number values (2)")
        connection.execute(
            "insert into audit (event_type, actor, resource, details, at) "
            "values ('x', 'y', 'z', hex(zeroblob(1000000)), 'now')"
        )

    database.transact(limit)
    group, answers = held(database), [answer() for _ in range(3)]
    for transaction, then in zip([add(1), fill, add(3)], answers, strict=True):
        database.write(transaction, then)
    group.let_go()
    outcomes = [done.wait() for done in answers]
    error = outcomes[1].error
    assert isinstance(error, StoreUnavailable)
    assert "disk is full" in str(error)
    assert error.retryable
    assert [outcomes[0].value, outcomes[2].value] == [1, 3]
    assert numbers() == [1, 3]


@on_sqlite
def test_a_store_that_another_process_writes_to_is_an_answer_and_no_crash(
    url: str, database: Database, numbers: Numbers, answer: Any
) -> None:
    with Database.open(url, exclusive=False, busy_timeout=0.05) as client:
        other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(StoreUnavailable, match="another process is writing") as caught:
            client.transact(add(1))
        assert caught.value.retryable
        other.execute("commit")
        other.close()
        assert client.transact(add(1)) == 1
    assert numbers() == [1]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=lambda error: type(error).__name__)
def test_an_acknowledgement_that_raises_harms_nobody(
    database: Database, numbers: Numbers, held: Any, answer: Any, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def refuse(_outcome: object) -> None:
        raise error

    group, done = held(database), answer()
    database.write(add(1), refuse)
    database.write(add(2), done)
    group.let_go()
    assert done.wait().value == 2
    assert numbers() == [1, 2]
    assert "acknowledgement" in caplog.text


def test_an_acknowledgement_may_write_on_but_must_not_wait(database: Database, numbers: Numbers, answer: Any) -> None:
    later, refused = answer(), []

    def then(_outcome: object) -> None:
        database.write(add(2), later)
        with pytest.raises(RuntimeStopped, match="write()") as caught:
            database.transact(add(3))
        refused.append(caught.value)

    database.write(add(1), then)
    assert later.wait().value == 2
    assert len(refused) == 1
    assert numbers() == [1, 2]


def test_closing_does_what_is_queued_and_then_refuses(url: str, held: Any, answer: Any) -> None:
    database = Database.open(url)
    database.transact(lambda connection: connection.execute("create table number (n integer)"))
    group, answers = held(database), [answer() for _ in range(50)]
    for number, then in enumerate(answers):
        database.write(add(number), then)
    closing = threading.Thread(target=database.close)
    closing.start()
    group.let_go()
    closing.join(20)
    assert [done.wait().value for done in answers] == list(range(50))
    with pytest.raises(RuntimeStopped):
        database.write(add(51), answer())
    database.close()


def test_work_in_flight_ends_when_the_acknowledgement_has_returned(url: str, work: Any, answer: Any) -> None:
    counts: list[list[str]] = []
    with Database.open(url, work=work) as database:
        done = answer()

        def then(outcome: Any) -> None:
            counts.append(work.pending())
            done(outcome)

        database.write(lambda connection: connection.execute("select 1"), then)
        done.wait()
        assert work.wait_idle(20)
    assert counts == [["store write"]]


def test_a_look_for_the_commits_of_others_is_no_work_in_flight(url: str, work: Any, held: Any) -> None:
    with Database.open(url, work=work) as database:
        group = held(database)
        database.poll_outside_commits()
        assert work.pending() == ["store write"]
        group.let_go()


def test_the_writer_has_a_name(database: Database) -> None:
    assert {"store.db-writer", "postgresql-writer"} & {thread.name for thread in threading.enumerate()}


@pytest.mark.concurrent
def test_many_threads_write_at_once_and_each_gets_its_own_answer(database: Database, numbers: Numbers) -> None:
    wrong: list[int] = []

    def write(first: int) -> None:
        for number in range(first, first + 100):
            if database.transact(add(number)) != number:
                wrong.append(number)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert numbers() == list(range(800))
