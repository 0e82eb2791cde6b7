"""What is PostgreSQL's own: faults of the connection and of the server, locks, values, and settings."""

import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from flowstone.errors import ConfigError, StoreLocked, StoreUnavailable, ValidationError
from flowstone.state import nodes, postgres, postgres_exchange, postgres_lock
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.postgres import PostgresServer, PostgresSession
from flowstone.state.postgres_faults import translated
from flowstone.state.postgres_wire import value_of

Numbers = Callable[[], list[int]]
Transaction = Callable[[Connection], Any]
ADD = "insert into number values (:n)"


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def cut(postgres_server: Any) -> Callable[[int], None]:
    """Ends a session on the server, which its client finds out when it next asks."""

    def cut(pid: int) -> None:
        assert postgres_server.run("select pg_terminate_backend(%s, 20000)", pid) == [(True,)]

    return cut


@pytest.fixture
def down(postgres_server: Any) -> Iterator[Any]:
    """The server, to be stopped; it is up again after the test."""
    if not postgres_server.ours:
        pytest.skip("the server is not the tests' own")
    yield postgres_server
    postgres_server.start()


def add(number: int) -> Transaction:
    return lambda connection: connection.execute(ADD, n=number)


def pid_of(connection: Connection) -> int:
    return int(connection.execute("select pg_backend_pid() as pid")[0].pid)


def test_a_connection_cut_within_a_transaction_is_made_again_and_the_transaction_run_again(
    database: Database, numbers: Numbers, cut: Callable[[int], None]
) -> None:
    calls: list[int] = []

    def transaction(connection: Connection) -> str:
        calls.append(pid_of(connection))
        connection.execute(ADD, n=len(calls))
        if len(calls) == 1:
            cut(calls[0])
        connection.execute("select 1")
        return "written"

    assert database.transact(transaction) == "written"
    assert numbers() == [2]
    assert len(set(calls)) == 2


def test_a_group_whose_connection_is_cut_is_run_again(
    database: Database, numbers: Numbers, cut: Callable[[int], None], held: Any, answer: Any
) -> None:
    calls: list[int] = []

    def cutting(connection: Connection) -> None:
        calls.append(pid_of(connection))
        connection.execute(ADD, n=2)
        if len(calls) == 1:
            cut(calls[0])
        connection.execute("select 1")

    group, answers = held(database), [answer() for _ in range(3)]
    for transaction, then in zip([add(1), cutting, add(3)], answers, strict=True):
        database.write(transaction, then)
    group.let_go()
    assert [done.wait().error for done in answers] == [None, None, None]
    assert [len(done.outcomes) for done in answers] == [1, 1, 1]
    assert numbers() == [1, 2, 3]


def test_connections_cut_while_nothing_was_asked_are_made_again(
    database: Database, numbers: Numbers, cut: Callable[[int], None]
) -> None:
    cut(database.transact(pid_of))
    cut(database.read(pid_of))
    assert database.transact(lambda connection: connection.change(ADD, n=1)) == 1
    assert numbers() == [1]


def test_a_commit_whose_answer_is_lost_is_not_run_again_since_it_may_have_happened(
    database: Database, numbers: Numbers, cut: Callable[[int], None], held: Any, answer: Any, monkeypatch: Any
) -> None:
    commit = PostgresSession.commit

    def lose(session: PostgresSession) -> None:
        pid = session.execute("select pg_backend_pid() as pid", {})[0].pid
        commit(session)
        cut(pid)
        session.command("select 1")

    group, answers = held(database), [answer(), answer()]
    for number, then in enumerate(answers):
        database.write(add(number), then)
    monkeypatch.setattr(PostgresSession, "commit", lose)
    group.let_go()
    errors = [done.wait().error for done in answers]
    monkeypatch.undo()
    assert [type(error) for error in errors] == [StoreUnavailable, StoreUnavailable]
    assert all(error.retryable for error in errors)
    assert numbers() == [0, 1], "it had happened: who asks again with the same key finds it"


def test_a_server_that_is_down_is_an_answer_and_what_was_acknowledged_is_there_when_it_is_back(
    database: Database, numbers: Numbers, down: Any
) -> None:
    database.transact(add(1))
    down.stop()
    for ask in (lambda: database.transact(add(2)), numbers, lambda: database.transact(add(2))):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        assert caught.value.retryable
    assert isinstance(database.fault, StoreUnavailable)
    down.start()
    database.transact(add(3))
    assert numbers() == [1, 3]
    assert database.fault is None


def test_a_look_for_the_commits_of_others_makes_the_connection_again_and_tells_that_some_may_be_missed(
    database: Database, cut: Callable[[int], None]
) -> None:
    noticed: list[str] = []
    pid = database.transact(pid_of)
    database.on_outside_commit(lambda: noticed.append("perhaps"))
    cut(pid)
    for _ in range(2):
        database.poll_outside_commits()
        database.transact(lambda _connection: None)
    assert noticed == ["perhaps"]


def test_two_that_wait_for_each_other_are_both_written(url: str, database: Database, numbers: Numbers) -> None:
    meet = threading.Barrier(2)
    first_time = threading.local()

    def crossing(one: int, other: int) -> Transaction:
        def transaction(connection: Connection) -> None:
            connection.change("update number set n = n where n = :n", n=one)
            if not getattr(first_time, "met", False):
                first_time.met = True
                meet.wait(20)
            connection.change("update number set n = n where n = :n", n=other)
            connection.execute(ADD, n=one + 10)

        return transaction

    database.transact(add(1))
    database.transact(add(2))
    with Database.open(url, exclusive=False) as client:
        beside = threading.Thread(target=client.transact, args=(crossing(2, 1),))
        beside.start()
        database.transact(crossing(1, 2))
        beside.join(20)
    assert numbers() == [1, 2, 11, 12]


def test_while_one_waits_for_a_lock_the_other_threads_of_its_process_go_on(
    url: str, database: Database, numbers: Numbers, postgres_server: Any
) -> None:
    database.transact(add(1))
    waits = "select count(*) from pg_locks where not granted and pid = %s"

    with Database.open(url, exclusive=False) as client:
        # Its answer has no rows, so it is put off, and the lock is waited for at the commit.
        beside = threading.Thread(target=client.transact, args=(lambda c: c.execute("update number set n = n + 10"),))
        pid = client.transact(pid_of)

        def transaction(connection: Connection) -> None:
            connection.execute("update number set n = n + 1 returning n")
            beside.start()
            while beside.is_alive() and postgres_server.run(waits, pid) == [(0,)]:
                pass

        database.transact(transaction)
        beside.join(20)
    assert numbers() == [12]


def test_a_lock_that_another_process_keeps_is_an_answer(url: str, database: Database, numbers: Numbers) -> None:
    database.transact(add(1))
    with psycopg.connect(url) as other:
        other.execute("update number set n = n")
        with Database.open(url, exclusive=False, busy_timeout=0.05) as client:
            with pytest.raises(StoreUnavailable, match="another process is writing") as caught:
                client.transact(lambda connection: connection.change("update number set n = 7"))
            assert caught.value.retryable
            other.rollback()
            assert client.transact(lambda connection: connection.change("update number set n = 7")) == 1


def test_a_full_disk_refuses_what_does_not_fit_and_takes_the_rest(
    database: Database, numbers: Numbers, held: Any, answer: Any
) -> None:
    # The server itself raises what it raises when a file can't grow.
    database.transact(
        lambda connection: connection.script(
            "create function refuse() returns trigger language plpgsql as "
            "$$ begin raise 'could not extend file' using errcode = 'disk_full'; end $$;"
            "create trigger full_disk before insert on number for each row when (new.n = 2) execute function refuse();"
        )
    )
    group, answers = held(database), [answer() for _ in range(3)]
    for number, then in enumerate(answers, start=1):
        database.write(add(number), then)
    group.let_go()
    outcomes = [done.wait() for done in answers]
    error = outcomes[1].error
    assert isinstance(error, StoreUnavailable)
    assert "the disk is full" in str(error)
    assert error.retryable
    assert [outcomes[0].error, outcomes[2].error] == [None, None]
    assert numbers() == [1, 3]


def test_a_node_that_has_ended_writes_nothing(url: str, database: Database, numbers: Numbers) -> None:
    database.transact(lambda c: nodes.join(c, boot="one", name="vm", offers=(), now=c.now()))
    database.enlist("one")
    database.transact(add(1))
    with Database.open(url) as other:
        other.transact(lambda c: nodes.leave(c, boot="one", now=c.now()))
    with pytest.raises(StoreUnavailable, match="refuses this node: it was stopped") as caught:
        database.transact(add(2))
    assert caught.value.retryable
    assert caught.value.context[nodes.LOST] == "one"
    database.enlist(None)
    database.transact(add(3))
    assert numbers() == [1, 3]


def test_a_session_of_ours_that_the_server_still_takes_for_living_gives_up_the_lock(url: str) -> None:
    server = PostgresServer(url, shown=url, exclusive=True, synchronous="FULL", busy_timeout=5)
    first, second = server.writer(), server.writer()
    with pytest.raises(psycopg.Error):
        first.command("select 1")
    assert first.lost
    assert not second.lost
    first.close()
    second.close()


def test_a_lock_without_a_name_is_refused_all_the_same(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_lock, "PATIENCE", 0.05)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "select pg_advisory_lock(hashtextextended('flowstone runtime ' || current_schema(), 0))"
        )
        with pytest.raises(StoreLocked, match="left no name"):
            Database.open(url)


def test_schemas_of_one_database_are_stores_of_their_own(url: str, database: Database, postgres_server: Any) -> None:
    noticed: list[str] = []
    database.on_outside_commit(lambda: noticed.append("outside"))
    elsewhere = postgres_server.make()
    with Database.open(elsewhere) as other:
        other.transact(lambda connection: connection.execute("create table number (n integer)"))
        database.poll_outside_commits()
        database.transact(lambda connection: connection.execute("create table number (n integer)"))
    assert noticed == []
    postgres_server.drop(elsewhere)


def test_the_server_takes_the_locks_from_a_process_that_is_stopped_within_a_transaction(
    url: str, numbers: Numbers, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PAUSED_TIMEOUT", 0.05)
    gone = "select 1 from pg_stat_activity where pid = %s"
    calls: list[int] = []

    def stopped(connection: Connection) -> None:
        calls.append(pid_of(connection))
        if len(calls) == 1:
            while postgres_server.run(gone, calls[0]):
                pass
        connection.execute(ADD, n=len(calls))

    with Database.open(url, exclusive=False) as client:
        client.transact(stopped)
    assert numbers() == [2]


def test_statements_that_are_put_off_keep_their_order(database: Database, numbers: Numbers, monkeypatch: Any) -> None:
    monkeypatch.setattr(postgres_exchange, "WAITING", 3)

    def transaction(connection: Connection) -> list[int]:
        for number in range(7):
            connection.execute(ADD, n=number)
            connection.execute("update number set n = n + 10 where n = :n", n=number)
        return [row.n for row in connection.execute("select n from number order by n")]

    assert database.transact(transaction) == list(range(10, 17))
    assert numbers() == list(range(10, 17))


def test_what_is_wrong_with_a_statement_that_was_put_off_fails_its_transaction(
    database: Database, numbers: Numbers, held: Any, answer: Any
) -> None:
    def twice(connection: Connection) -> str:
        connection.execute(ADD, n=2)
        connection.execute(ADD, n=2)
        return "never seen"

    group, answers = held(database), [answer() for _ in range(3)]
    for transaction, then in zip([add(1), twice, add(3)], answers, strict=True):
        database.write(transaction, then)
    group.let_go()
    outcomes = [done.wait() for done in answers]
    assert isinstance(outcomes[1].error, psycopg.IntegrityError)
    assert [outcomes[0].error, outcomes[2].error] == [None, None]
    assert numbers() == [1, 3]


def test_a_session_keeps_no_more_statements_than_it_may(
    database: Database, numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_exchange, "PREPARED", 2)

    def transaction(connection: Connection) -> list[int]:
        return [connection.execute(f"select :n + {number} as n", n=1)[0].n for number in [1, 2, 3, 4, 1, 2]]

    assert database.transact(transaction) == [2, 3, 4, 5, 2, 3]


def test_a_commit_is_flushed_unless_asked_otherwise(url: str, postgres_server: Any) -> None:
    def setting(database: Database) -> str:
        row = database.transact(lambda connection: connection.execute("show synchronous_commit"))[0]
        return str(row.synchronous_commit)

    with Database.open(url) as database:
        assert setting(database) == "on"
    with Database.open(url, synchronous="NORMAL") as database:
        assert setting(database) == "off"


def test_text_with_a_nul_is_refused_before_it_is_sent(database: Database, numbers: Numbers) -> None:
    def transaction(connection: Connection) -> None:
        connection.execute(ADD, n=1)
        with pytest.raises(ValidationError, match="NUL"):
            connection.execute("select :text as text", text="a\0b")

    database.transact(transaction)
    assert numbers() == [1]


def test_a_value_without_a_stored_form_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected a value that the store can hold, got: <object"):
        value_of(object())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("?options=-csearch_path%3Dnowhere", "schema"), ("?port=1&host=/nowhere", "nowhere")],
)
def test_what_cannot_be_connected_to_is_one_clear_error(postgres_server: Any, wrong: str, message: str) -> None:
    url = f"{postgres_server.url.partition('?')[0]}{wrong}"
    if "host" not in wrong:
        url += f"&{postgres_server.url.partition('?')[2]}"
    before = set(threading.enumerate())
    with pytest.raises(StoreUnavailable, match=message):
        Database.open(url)
    assert set(threading.enumerate()) == before


def test_a_url_that_the_driver_does_not_understand_is_refused() -> None:
    with pytest.raises(ConfigError, match="libpq"):
        Database.open("postgresql://host/database?colour=red")


def test_no_error_and_no_health_shows_the_password() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        Database.open("postgresql://ada:sesame@/shop?host=/nowhere&sslpassword=sesame")
    assert "sesame" not in f"{caught.value} {caught.value.context}"


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> None:
        raise ImportError("No module named 'psycopg'")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ConfigError, match=r"flowstone\[postgres\]"):
        Database.open("postgresql://host/database")


@pytest.mark.parametrize(
    ("state", "retryable"),
    [
        ("08006", True),
        ("40001", True),
        ("40P01", True),
        ("53300", True),
        ("57P03", True),
        ("58030", True),
        ("25006", False),
        ("28P01", False),
        ("42501", False),
    ],
)
def test_faults_of_the_store_say_whether_to_try_again(state: str, retryable: bool) -> None:
    error = translated(psycopg.errors.lookup(state)("it failed"), "shop", lost=False)
    assert error is not None
    assert error.retryable is retryable
    assert "shop" in str(error)


def test_faults_of_a_statement_are_not_the_stores() -> None:
    assert translated(psycopg.errors.UniqueViolation("twice"), "shop", lost=False) is None
    assert translated(psycopg.ProgrammingError("no state"), "shop", lost=False) is None
