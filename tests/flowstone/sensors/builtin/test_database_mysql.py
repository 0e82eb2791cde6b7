"""A MariaDB that is asked again and again, as it is: values that change, rows past a mark, each once."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowstone as fs
from actors.testing import ManualClock
from flowstone.sensors import DatabaseChange, PollError
from flowstone.sensors.builtin.database.connection import Reader
from flowstone.sensors.surroundings import ALONE

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


class Shop:
    """An empty database, and statements on it."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.url = server.make()
        self.name = urlsplit(self.url).path.removeprefix("/")

    def run(self, *statements: str) -> Any:
        """What the last statement gives; each is committed."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def connect(self) -> Any:
        return self.server.connect(self.name)


@pytest.fixture
def shop(mariadb_server: Any) -> Shop:
    """An empty database of MariaDB."""
    return Shop(mariadb_server)


class Stored:
    """Surroundings whose store knows what a poller committed."""

    poller: Any = None
    now = ALONE.now
    wake = ALONE.wake

    def known(self, wanted: Any) -> frozenset[str]:
        known: frozenset[str] = self.poller.known(wanted)
        return known


def stored(poller: Any, sensor: DatabaseChange) -> Any:
    around = Stored()
    around.poller = poller(sensor, around)
    return around.poller


def ids(items: Any) -> list[Any]:
    return [item.payload["row"]["id"] for item in items]


def test_a_value_triggers_when_it_changes(shop: Shop, poller: Any) -> None:
    shop.run("create table events (id integer primary key)")
    watch = poller(DatabaseChange(url=shop.url, query="select max(id) from events"))
    assert watch.poll() == []
    shop.run("insert into events values (41)")
    (item,) = watch.poll()
    assert (type(item.partition), item.payload) == (date, {"value": 41, "previous": None})
    assert watch.poll() == []
    shop.run("insert into events values (42)")
    assert [item.payload for item in watch.poll()] == [{"value": 42, "previous": 41}]


def test_null_and_no_row_are_no_value(shop: Shop, poller: Any) -> None:
    shop.run("create table events (id integer primary key, at datetime)")
    for query in ("select max(id) from events", "select id from events"):
        assert poller(DatabaseChange(url=shop.url, query=query)).poll() == []
    watch = stored(poller, DatabaseChange(url=shop.url, table="events", high_water="at"))
    assert watch.poll() == []
    shop.run("insert into events values (1, null)")
    assert watch.poll() == []
    shop.run("update events set at = '2025-01-15 12:00'")
    assert ids(watch.poll()) == [1]


@pytest.mark.parametrize(
    ("kind", "first", "second", "told"),
    [
        ("integer", "1", "2", 2),
        ("bigint unsigned", "18446744073709551614", "18446744073709551615", 18446744073709551615),
        ("boolean", "false", "true", 1),
        ("varchar(9)", "'a'", "'🍐'", "🍐"),
        ("text", "'a%s'", "'a%t'", "a%t"),
        ("decimal(9, 3)", "1.500", "1.501", "1.501"),
        ("double", "1.5", "0.1 + 1.4999999", 1.5999999),
        ("date", "'2025-01-15'", "'2025-01-16'", "2025-01-16"),
        ("datetime", "'2025-01-15 12:00'", "'2025-01-15 12:01'", "2025-01-15T12:01:00"),
        ("datetime(6)", "'2025-01-15 12:00'", "'2025-01-15 12:00:00.000001'", "2025-01-15T12:00:00.000001"),
        ("timestamp", "'2025-01-15 12:00'", "'2025-07-15 12:00'", None),
        ("time", "'12:00'", "'12:01'", "12:01:00"),
        ("year", "2025", "2026", 2026),
        ("varbinary(9)", "x'00ff'", "x'01ff'", "01ff"),
        ("uuid", "'0194f3a0-0000-7000-8000-000000000000'", "'0194f3a0-0000-7000-8000-000000000001'", None),
        ("enum ('a', 'b')", "'a'", "'b'", "b"),
    ],
)
def test_values_of_all_types_are_compared(
    shop: Shop, poller: Any, kind: str, first: str, second: str, told: object
) -> None:
    shop.run(f"create table t (v {kind})", f"insert into t values ({first})")
    watch = poller(DatabaseChange(url=shop.url, query="select v from t"))
    rows = stored(poller, DatabaseChange(url=shop.url, table="t", high_water="v"))
    assert [len(one.poll()) for one in (watch, watch, rows, rows)] == [1, 0, 1, 0]
    shop.run(f"update t set v = {second}")
    (item,) = watch.poll()
    assert told is None or item.payload["value"] == told
    assert [len(one.poll()) for one in (watch, rows, rows)] == [0, 1, 0]


@pytest.mark.parametrize("with_store", [True, False])
def test_rows_at_the_mark_and_late_below_it_arrive_once(shop: Shop, poller: Any, with_store: bool) -> None:
    shop.run("create table log (id integer primary key, at datetime)")
    sensor = DatabaseChange(url=shop.url, table="log", high_water="at", lookback="10m")
    watch = stored(poller, sensor) if with_store else poller(sensor)
    shop.run("insert into log values (1, '2025-01-15 12:00'), (2, '2025-01-15 12:00'), (3, null)")
    assert ids(watch.poll()) == [1, 2]
    with shop.connect() as late, late.cursor() as cursor:
        late.begin()
        cursor.execute("insert into log values (5, '2025-01-15 11:51')")
        shop.run("insert into log values (4, '2025-01-15 12:00')")
        assert ids(watch.poll()) == [4]
        late.commit()
    assert ids(watch.poll()) == [5]
    shop.run("update log set at = '2025-01-15 12:01' where id = 1")
    assert ids(watch.poll()) == [1]
    assert watch.poll() == []


def test_the_rest_is_taken_at_once_even_behind_ties(shop: Shop, poller: Any) -> None:
    values = ", ".join(f"({number}, {1 if number < 30 else number})" for number in range(50))
    shop.run("create table log (id integer primary key, at integer)", f"insert into log values {values}")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at", limit=5, lookback=3))
    assert (ids(watch.poll()), watch.answer.again) == ([0, 1, 2, 3, 4], True)
    assert ids(watch.all()) == list(range(5, 50))


def test_texts_arrive_in_the_order_of_their_collation(shop: Shop, poller: Any) -> None:
    shop.run("create table log (id integer primary key, name varchar(9) collate utf8mb4_general_ci)")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log", high_water="name", limit=2))
    shop.run("insert into log values (1, 'b'), (2, 'B'), (3, 'C'), (4, 'd'), (5, 'E'), (6, 'e')")
    assert ids(watch.all()) == [1, 2, 3, 4, 5, 6]
    shop.run("insert into log values (7, 'E'), (8, 'F')")
    assert ids(watch.all()) == [7, 8]
    assert watch.state["mark"] == "F"


def test_keys_that_differ_beyond_the_first_plane_are_told_apart(shop: Shop, poller: Any) -> None:
    shop.run("create table log (id varchar(9) collate utf8mb4_bin primary key, at integer)")
    shop.run("insert into log values ('🍎', 1), ('🍐', 1)")
    assert ids(stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at")).poll()) == ["🍎", "🍐"]


def test_a_keyless_table_a_view_and_another_database_are_read(shop: Shop, poller: Any) -> None:
    shop.run("create table log (id integer, at integer)", "insert into log values (1, 1), (1, 1), (2, 1)")
    shop.run("create view seen as select * from log where id > 1")
    assert ids(stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at")).poll()) == [1, 1, 2]
    assert ids(stored(poller, DatabaseChange(url=shop.url, table="seen", high_water="at")).poll()) == [2]
    assert len(poller(DatabaseChange(url=shop.url, table=f"{shop.name}.log", high_water="at")).poll()) == 3


def test_nothing_is_lost_when_the_clocks_of_the_server_are_set_back(shop: Shop, poller: Any) -> None:
    shop.run("create table log (id integer auto_increment primary key, at timestamp)")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at", lookback="5m"))
    start, arrived = datetime(2025, 10, 25, 23, 30), list[int]()
    for minute in range(0, 180, 10):
        shop.run(f"insert into log (at) values ('{start + timedelta(minutes=minute)}')")
        arrived += ids(watch.poll())
    assert arrived == list(range(1, 19))


@pytest.mark.parametrize("statement", ["insert into t values (2) returning id", "delete from t", "drop table t"])
def test_nothing_can_be_written(shop: Shop, poller: Any, statement: str) -> None:
    shop.run("create table t (id integer primary key)", "insert into t values (1)")
    with pytest.raises(PollError) as caught:
        poller(DatabaseChange(url=shop.url, query=statement)).poll()
    assert (caught.value.code, "READ ONLY" in str(caught.value)) == ("database_error", True)
    assert shop.run("select id from t") == ((1,),)


def test_a_statement_that_takes_too_long_is_ended(shop: Shop, poller: Any) -> None:
    endless = "select count(*) from information_schema.collations a, information_schema.collations b, mysql.help_topic"
    for query in (endless.replace("mysql.help_topic", "information_schema.collations c"), "select sleep(30)"):
        with pytest.raises(PollError, match="max_statement_time") as caught:
            poller(DatabaseChange(url=shop.url, query=query, timeout="100ms")).poll()
        assert caught.value.code == "timeout"


def test_a_refusal_names_no_password(shop: Shop, poller: Any) -> None:
    wrong = shop.url.replace("w%2Frd", "hunter2")
    with pytest.raises(PollError) as caught:
        poller(DatabaseChange(url=wrong, query="select 1")).poll()
    assert caught.value.code == "database_error"
    assert "Access denied" in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_query_may_hold_per_cent_signs(
    request: pytest.FixtureRequest, make_store_url: Any, poller: Any, kind: str
) -> None:
    url = Shop(request.getfixturevalue("mariadb_server")).url if kind == "mysql" else make_store_url(kind)
    if kind == "sqlite":
        peewee.SqliteDatabase(url.removeprefix("sqlite:///")).connect()
    watch = poller(DatabaseChange(url=url, query="select 7 % 4 where 'a%s' like 'a%'"))
    assert [item.payload["value"] for item in watch.poll()] == [3]


def test_names_may_hold_per_cent_signs(shop: Shop, poller: Any) -> None:
    shop.run("create table `log%s` (id integer primary key, `100%` integer)", "insert into `log%s` values (1, 1)")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log%s", high_water="100%", key="id"))
    assert [ids(watch.poll()), watch.poll()] == [[1], []]


class Session:
    """A database of MySQL's kind that says which it is, as far as limits go."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.statements: list[str] = []

    def execute_sql(self, sql: str) -> Session:
        self.statements.append(sql)
        return self

    def fetchone(self) -> tuple[str]:
        return (self.version,)


@pytest.mark.parametrize(
    ("version", "limit"),
    [("8.0.36", "max_execution_time = 1500"), ("11.4.2-MariaDB-ubu2404", "max_statement_time = 1.5")],
)
def test_mysql_and_mariadb_have_limits_of_their_own(version: str, limit: str) -> None:
    session = Session(version)
    Reader("mysql://h/d", None, 1.5)._limit(session)
    assert session.statements[-1] == f"set session {limit}"


def test_a_server_that_is_silent_is_given_up(shop: Shop, poller: Any) -> None:
    watch = poller(DatabaseChange(url=f"{shop.url}&read_timeout=1", query="select sleep(30)"))
    with pytest.raises(PollError, match="timed out") as caught:
        watch.poll()
    assert caught.value.code == "timeout"


@pytest.fixture
def runtime(shop: Shop) -> Iterator[fs.Runtime]:
    """A runtime that watches the table `log`, when it is asked to."""
    shop.run("create table log (id integer auto_increment primary key, at integer)")
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: 1, name="raw", partitions=fs.Static(map(str, range(1, 10))))
    rows = DatabaseChange(url=shop.url, table="log", high_water="at", lookback=5, partition=lambda row: str(row["id"]))
    pipeline.sensor("rows", rows, every="1h", target="raw")
    with fs.Runtime(pipeline, store="memory://", clock=ManualClock(NOON)) as runtime:
        yield runtime


def polled(runtime: fs.Runtime) -> tuple[str, str | None]:
    """What a poll came to, and the code of its error."""
    evaluation = runtime.sensors.poll("rows")
    return evaluation.status.value, evaluation.reason_code


def arrived(runtime: fs.Runtime) -> list[int]:
    """The rows that have a run."""
    runtime.drain()
    return sorted(int(str(run.partition)) for run in runtime.runs.list(limit=500))


# The driver forgets a socket of the file system that refuses it, until Python collects it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_was_down_is_an_error_and_then_goes_on(shop: Shop, runtime: fs.Runtime) -> None:
    shop.run("insert into log (at) values (1), (1)")
    assert polled(runtime) == ("triggered", None)
    shop.run("insert into log (at) values (1), (2)")
    shop.server.stop()
    try:
        assert polled(runtime) == ("error", "database_error")
        gc.collect()
    finally:
        shop.server.start()
    assert polled(runtime) == ("triggered", None)
    assert polled(runtime) == ("no_trigger", None)
    assert arrived(runtime) == [1, 2, 3, 4]


def test_a_connection_that_is_cut_is_an_error_and_then_goes_on(shop: Shop, runtime: fs.Runtime) -> None:
    shop.run("insert into log (at) values (1)")
    with shop.connect() as holder, holder.cursor() as cursor:
        # The poll waits for the lock; then its connection is ended.
        cursor.execute("lock tables log write")
        found: list[Any] = []
        polling = threading.Thread(target=lambda: found.append(polled(runtime)))
        polling.start()
        waiting = f"select id from information_schema.processlist where user = '{shop.name}' and state like 'Waiting%'"
        while not (ids_waiting := shop.run(waiting)):
            assert polling.is_alive()
        shop.run(f"kill connection {ids_waiting[0][0]}")
        polling.join(30)
    assert found == [("error", "database_error")]
    assert polled(runtime) == ("triggered", None)
    assert arrived(runtime) == [1]


@pytest.mark.property
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.one_of(st.just("poll"), st.integers(0, 4), st.just("commit")), max_size=15))
def test_each_row_arrives_once_however_late_it_is_committed(
    shop: Shop, poller: Any, steps: list[str | int]
) -> None:
    shop.run("create or replace table log (id integer auto_increment primary key, at datetime)")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at", lookback="40s", limit=3))
    seen, written = list[int](), 0
    with shop.connect() as one, one.cursor() as cursor, shop.connect() as other, other.cursor() as late:
        other.begin()
        for step in [*steps, "commit", "poll"]:
            if step == "poll":
                seen += ids(watch.all())
            elif step == "commit":
                other.commit()
                other.begin()
            else:
                # Up to 40 s older than what others have written, and now and then not committed yet.
                at = NOON - timedelta(seconds=10 * int(step))
                writer = late if int(step) % 2 else cursor
                writer.execute("insert into log (at) values (%s)", (at.replace(tzinfo=None),))
                written += 1
    assert sorted(seen) == list(range(1, written + 1))
