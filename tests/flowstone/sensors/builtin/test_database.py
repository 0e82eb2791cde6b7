"""A database that is asked again and again: values that change, rows past a mark, each once."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import peewee
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.errors import ValidationError
from flowstone.sensors import DatabaseChange, PollError, SensorSpec
from flowstone.sensors.builtin.database import listening
from flowstone.sensors.builtin.database.values import before, later, readable, restored, storable
from flowstone.sensors.surroundings import ALONE


class Shop:
    """A database of either kind, and statements on it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *statements: str) -> None:
        if self.url.startswith("sqlite"):
            connection = sqlite3.connect(self.url.partition(":///")[2])
            for statement in statements:
                connection.execute(statement)
            connection.commit()
            connection.close()
        else:
            with psycopg.connect(self.url, autocommit=True) as server:
                for statement in statements:
                    server.execute(statement)  # type: ignore[arg-type]  # texts of this file


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, make_store_url: Callable[[str], str]) -> Shop:
    """An empty database, of either kind."""
    kind = request.param
    made = Shop(f"sqlite:///{tmp_path}/shop.db" if kind == "sqlite" else make_store_url(kind))
    made.run("create table events (id integer primary key, day text)")
    return made


@pytest.fixture
def file(tmp_path: Path) -> Shop:
    """An empty file of SQLite."""
    made = Shop(f"sqlite:///{tmp_path}/shop.db")
    made.run("create table events (id integer primary key, day text)")
    return made


class Stored:
    """Surroundings whose store knows what a poller committed."""

    poller: Any = None

    def now(self) -> datetime:
        return datetime(2025, 1, 15, 12, tzinfo=UTC)

    def known(self, wanted: Any) -> frozenset[str]:
        known: frozenset[str] = self.poller.known(wanted)
        return known

    def wake(self) -> None:
        return None


def stored(poller: Any, sensor: DatabaseChange) -> Any:
    around = Stored()
    around.poller = poller(sensor, around)
    return around.poller


def ids(items: Any) -> list[Any]:
    return [item.payload["row"]["id"] for item in items]


def test_initializes_with_query_config(file: Shop) -> None:
    sensor = DatabaseChange(url=file.url, query="SELECT max(id) FROM events", partition=lambda value: "p")
    assert sensor.query == "SELECT max(id) FROM events"
    assert sensor.init()["value"] is None


def test_triggers_on_value_change(shop: Shop, poller: Any) -> None:
    watch = poller(DatabaseChange(url=shop.url, query="SELECT count(*) FROM events"))
    shop.run("insert into events values (1, 'a')")
    (item,) = watch.poll()
    assert (type(item.partition), item.payload, watch.state["value"]) == (date, {"value": 1, "previous": None}, 1)
    shop.run("insert into events values (2, 'a')")
    (item,) = watch.poll()
    assert (item.payload, watch.state["value"]) == ({"value": 2, "previous": 1}, 2)


def test_does_not_trigger_when_value_unchanged(shop: Shop, poller: Any) -> None:
    shop.run("insert into events values (42, 'a')")
    watch = poller(DatabaseChange(url=shop.url, query="SELECT max(id) FROM events", partition=str))
    assert [item.partition for item in watch.poll()] == ["42"]
    assert watch.poll() == []


def test_handles_database_errors(shop: Shop, poller: Any) -> None:
    with pytest.raises(PollError) as caught:
        poller(DatabaseChange(url=shop.url, query="SELECT * FROM bad_table")).poll()
    assert caught.value.code == "database_error"
    assert "bad_table" in str(caught.value.reason)


def test_null_and_no_row_are_no_value(shop: Shop, poller: Any) -> None:
    assert poller(DatabaseChange(url=shop.url, query="select max(id) from events")).poll() == []
    assert poller(DatabaseChange(url=shop.url, query="select id from events")).poll() == []


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("numeric", "1.50", "1.51"),
        ("text", "'a'", "'b'"),
        ("timestamptz", "'2025-01-15 12:00+02'", "'2025-01-15 12:01+02'"),
        ("timestamp", "'2025-01-15 12:00'", "'2025-01-15 12:01'"),
        ("date", "'2025-01-15'", "'2025-01-16'"),
        ("bytea", "'\\x00ff'", "'\\x00fe'"),
        ("double precision", "1.5", "2.5"),
    ],
)
def test_values_of_all_types_are_compared(
    postgres_url: str, poller: Any, kind: str, first: str, second: str
) -> None:
    shop = Shop(postgres_url)
    shop.run(f"create table t (v {kind})", f"insert into t values ({first})")
    watch = poller(DatabaseChange(url=shop.url, query="select v from t"))
    assert [len(watch.poll()), len(watch.poll())] == [1, 0]
    shop.run(f"update t set v = {second}")
    assert [len(watch.poll()), len(watch.poll())] == [1, 0]
    rows = stored(poller, DatabaseChange(url=shop.url, table="t", high_water="v", lookback=0))
    assert [len(rows.poll()), len(rows.poll())] == [1, 0]


def test_each_row_past_the_mark_arrives_once(shop: Shop, poller: Any) -> None:
    shop.run("insert into events values (1, '2025-01-15'), (2, '2025-01-16')")
    sensor = DatabaseChange(url=shop.url, table="events", high_water="id", partition=lambda row: row["day"])
    watch = poller(sensor)
    assert [item.partition for item in watch.poll()] == ["2025-01-15", "2025-01-16"]
    assert watch.poll() == []
    shop.run("insert into events values (3, 'x')")
    (item,) = watch.poll()
    assert item.payload == {"row": {"id": 3, "day": "x"}}


@pytest.mark.parametrize("with_store", [True, False])
def test_rows_at_the_mark_and_late_below_it_arrive(shop: Shop, poller: Any, with_store: bool) -> None:
    shop.run("create table log (id integer primary key, at integer)")
    sensor = DatabaseChange(url=shop.url, table="log", high_water="at", lookback=10, key="id")
    watch = stored(poller, sensor) if with_store else poller(sensor)
    shop.run("insert into log values (1, 100), (2, 100), (3, null)")
    assert ids(watch.poll()) == [1, 2]
    shop.run("insert into log values (4, 100), (5, 91), (6, 80)")
    assert ids(watch.poll()) == [5, 4]
    shop.run("update log set at = 101 where id = 1")
    assert ids(watch.poll()) == [1]
    assert watch.poll() == []


def test_equal_rows_of_a_table_without_a_key_all_arrive(shop: Shop, poller: Any) -> None:
    shop.run("create table log (at integer, what text)", "insert into log values (1, 'a'), (1, 'a'), (1, 'b')")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at"))
    assert len(watch.poll()) == 3
    shop.run("insert into log values (1, 'a')")
    assert len(watch.poll()) == 1


def test_the_rest_is_taken_at_once_even_behind_ties(shop: Shop, poller: Any) -> None:
    shop.run("create table log (id integer primary key, at integer)")
    values = ", ".join(f"({number}, {1 if number < 30 else number})" for number in range(50))
    shop.run(f"insert into log values {values}")
    watch = stored(poller, DatabaseChange(url=shop.url, table="log", high_water="at", limit=5, lookback=3))
    assert (ids(watch.poll()), watch.answer.again) == ([0, 1, 2, 3, 4], True)
    assert ids(watch.all()) == list(range(5, 50))


def test_only_some_columns_are_read(shop: Shop, poller: Any) -> None:
    shop.run('create table "odd ""name" (id integer primary key, at integer, big text)')
    shop.run("insert into \"odd \"\"name\" values (1, 2, 'x')")
    sensor = DatabaseChange(url=shop.url, table='odd "name', high_water="at", columns=["at"])
    (item,) = poller(sensor).poll()
    assert item.payload == {"row": {"id": 1, "at": 2}}


def test_a_row_that_is_too_large_travels_by_its_key(file: Shop, poller: Any) -> None:
    file.run("insert into events values (1, '" + "x" * 70_000 + "')")
    (item,) = poller(DatabaseChange(url=file.url, table="events", high_water="id")).poll()
    assert item.payload == {"row": {"id": 1}}


def test_a_table_may_be_in_a_schema(postgres_url: str, poller: Any) -> None:
    shop = Shop(postgres_url)
    schema = postgres_url.rpartition("%3D")[2]
    shop.run("create table t (id integer primary key)", "insert into t values (1)")
    assert ids(poller(DatabaseChange(url=shop.url, table=f"{schema}.t", high_water="id")).poll()) == [1]


def test_another_table_begins_afresh(file: Shop, poller: Any) -> None:
    file.run("create table other (id integer primary key)", "insert into other values (1)")
    file.run("insert into events values (9, 'a')")
    watch = poller(DatabaseChange(url=file.url, table="events", high_water="id"))
    watch.poll()
    watch.sensor = DatabaseChange(url=file.url, table="other", high_water="id")
    assert ids(watch.poll()) == [1]


def test_nothing_can_be_written(shop: Shop, poller: Any) -> None:
    with pytest.raises(PollError) as caught:
        poller(DatabaseChange(url=shop.url, query="insert into events values (1, 'a') returning id")).poll()
    assert caught.value.code == "database_error"


def test_a_statement_that_takes_too_long_is_ended(shop: Shop, poller: Any) -> None:
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 99999999) select max(x) from n"
    with pytest.raises(PollError) as caught:
        poller(DatabaseChange(url=shop.url, query=endless, timeout="100ms")).poll()
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    "url",
    ["sqlite:////nowhere/shop.db", "postgresql://ann:hunter2@127.0.0.1:9/shop", "nonsense://x/y", "mysql:///shop"],
)
def test_a_database_that_is_not_there_is_an_error_without_its_password(poller: Any, url: str) -> None:
    sensor = DatabaseChange(url=url, query="select 1")
    with pytest.raises(PollError) as caught:
        poller(sensor).poll()
    assert caught.value.code == "database_error"
    assert "hunter2" not in str(caught.value) + json.dumps(SensorSpec("s", sensor, target="raw").config)


def test_a_database_of_ones_own_is_used(poller: Any) -> None:
    database = peewee.SqliteDatabase(":memory:")
    database.connect()
    database.execute_sql("create table t (id integer primary key)")
    database.execute_sql("insert into t values (1)")
    watch = poller(DatabaseChange(database=database, query="select max(id) from t"))
    assert [len(watch.poll()), len(watch.poll())] == [1, 0]
    assert not database.is_closed()


@pytest.mark.parametrize(
    ("scheme", "module", "extra"), [("mysql", "mysql", "mysql"), ("postgresql", "psycopg", "postgres")]
)
def test_a_driver_that_is_missing_names_its_extra(
    scheme: str, module: str, extra: str, poller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peewee, module, None)
    with pytest.raises(PollError, match=rf"pip install 'flowstone\[{extra}\]'") as caught:
        poller(DatabaseChange(url=f"{scheme}://127.0.0.1:9/shop", query="select 1")).poll()
    assert caught.value.code == "database_error"


def test_a_lookback_needs_something_to_take_it_from(file: Shop, poller: Any) -> None:
    file.run("insert into events values (1, 'monday')")
    watch = poller(DatabaseChange(url=file.url, table="events", high_water="day", lookback=1))
    watch.poll()
    with pytest.raises(PollError) as caught:
        watch.poll()
    assert caught.value.code == "bad_lookback"


ZONE = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mark", "lookback", "floor"),
    [
        (5, 0.0, 5),
        (5, 2.0, 3),
        (5, 0.5, 4.5),
        (5.5, 2.0, 3.5),
        (Decimal("1.5"), 1.0, Decimal("0.5")),
        (ZONE, 60.0, ZONE - timedelta(minutes=1)),
        (date(2025, 1, 15), 1.0, date(2025, 1, 14)),
        ("2025-01-15 12:00:00", 60.0, "2025-01-15 11:59:00"),
        ("2025-01-15T12:00:00", 60.0, "2025-01-15T11:59:00"),
    ],
)
def test_how_far_a_poll_looks_back(mark: Any, lookback: float, floor: Any) -> None:
    assert before(mark, lookback) == floor


@pytest.mark.parametrize("mark", ["monday", "2025-99", b"x"])
def test_nothing_can_be_taken_from_other_marks(mark: Any) -> None:
    with pytest.raises(ValueError, match="lookback|isoformat"):
        before(mark, 1.0)


@pytest.mark.parametrize(
    "value",
    [None, True, 7, "x", 1.5, Decimal("1.50"), Decimal("NaN"), ZONE, ZONE.replace(tzinfo=None), ZONE.date(), b"\x00",
     UUID(int=5)],
)  # fmt: skip
def test_a_value_survives_its_stored_form(value: Any) -> None:
    back = restored(json.loads(json.dumps(storable(value))))
    assert back == value or value != value
    json.dumps(readable(value))


def test_what_has_no_stored_form_is_text() -> None:
    assert (storable(float("inf")), storable([1])) == ("inf", "[1]")
    assert (later(None, 1), later(3, 2), later(1, "a")) == (1, 3, "a")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "url or database"),
        ({"url": "sqlite:///x", "database": 1, "query": "q"}, "url or database"),
        ({"url": "shop.db", "query": "q"}, "one of peewee's"),
        ({"url": "sqlite:///:memory:", "query": "q"}, "database="),
        ({"url": "sqlite:///x"}, "query, or table"),
        ({"url": "sqlite:///x", "query": "q", "table": "t"}, "query, or table"),
        ({"url": "sqlite:///x", "table": "t"}, "query, or table"),
        ({"url": "sqlite:///x", "query": "q", "key": []}, "key"),
        ({"url": "sqlite:///x", "query": "q", "columns": [""]}, "columns"),
        ({"url": "sqlite:///x", "query": "q", "partition": 1}, "partition"),
        ({"url": "sqlite:///x", "query": "q", "limit": True}, "limit"),
        ({"url": "sqlite:///x", "query": "q", "timeout": 0}, "timeout"),
        ({"url": "sqlite:///x", "query": "q", "lookback": "soon"}, "lookback"),
        ({"url": "sqlite:///x", "query": "q", "channel": "c"}, "channel"),
        ({"repo": "x"}, "did you mean 'url'"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        DatabaseChange(**options)


def test_a_notification_is_a_wake_up(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PATIENCE", 0.05)
    shop, woken = Shop(postgres_url), threading.Semaphore(0)

    class Woken(Stored):
        def wake(self) -> None:
            woken.release()

    sensor = DatabaseChange(url=shop.url, query="select 1", channel="Orders")
    sensor.poll(sensor.init())
    assert sensor._listener is not None and sensor._listener._thread is None
    living = sensor.within(Woken())  # type: ignore[arg-type]  # as far as it is used
    state = living.init()
    living.poll(state)
    living.poll(state)
    assert woken.acquire(timeout=10)
    shop.run('notify "Orders"')
    assert woken.acquire(timeout=10)
    thread = sensor._listener._thread
    assert thread is not None
    living.cleanup(state)
    thread.join(10)
    assert not thread.is_alive()
    DatabaseChange(url="sqlite:///x", query="select 1").cleanup(None)


def test_a_listener_that_loses_its_connection_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "RETRY", 0.01)
    tried = threading.Semaphore(0)

    def refused(*args: Any, **options: Any) -> Any:
        tried.release()
        raise psycopg.OperationalError("refused")

    monkeypatch.setattr(psycopg, "connect", refused)
    listener = listening.Listener("postgresql://nowhere", "c")
    listener.listen(ALONE.wake)
    assert tried.acquire(timeout=10) and tried.acquire(timeout=10)
    listener.stop()


STEPS = st.lists(
    st.tuples(st.sampled_from(["insert", "insert", "late", "update", "poll", "lose", "restart"]), st.integers(0, 5)),
    max_size=25,
)


@pytest.mark.property
@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from([1, 2, 1000]))
def test_the_runs_are_the_rows(tmp_path_factory: pytest.TempPathFactory, poller: Any, steps: Any, limit: int) -> None:
    """Inserts, late inserts, updates, answers that were lost, restarts: each value of each row, once."""
    shop = Shop(f"sqlite:///{tmp_path_factory.mktemp('shop')}/shop.db")
    shop.run("create table log (id integer primary key, at integer)")
    options: dict[str, Any] = {"url": shop.url, "table": "log", "high_water": "at", "lookback": 5, "limit": limit}
    watch = stored(poller, DatabaseChange(**options))
    runs: list[tuple[int, int]] = []
    rows: dict[int, int] = {}
    wanted: set[tuple[int, int]] = set()
    number, now = 0, 100

    def poll() -> None:
        wanted.update(rows.items())
        runs.extend((item.payload["row"]["id"], item.payload["row"]["at"]) for item in watch.all())

    for step, which in steps:
        if step in ("insert", "late"):
            number, now = number + 1, now + which % 2
            rows[number] = now - (which if step == "late" else 0)
            shop.run(f"insert into log values ({number}, {rows[number]})")
        elif step == "update" and rows:
            now += 1
            rows[number] = now
            shop.run(f"update log set at = {now} where id = {number}")
        elif step == "lose":
            watch.sensor.poll(watch.state)
        elif step == "restart":
            watch.sensor = DatabaseChange(**options).within(watch.sensor._around)
        elif step == "poll":
            poll()
    poll()
    assert sorted(runs) == sorted(wanted)


def test_a_database_under_a_runtime(file: Shop, room: Any) -> None:
    sensor = DatabaseChange(url=file.url, table="events", high_water="id", partition=lambda row: row["day"])
    room.open(SensorSpec("orders", sensor, every="30s", target="raw"))
    file.run("insert into events values (1, 'eu'), (2, 'us')")
    assert room.sensors.poll("orders").request_count == 2
    evaluation = room.sensors.poll("orders")
    assert (evaluation.request_count, evaluation.duplicate_count) == (0, 0)
    assert [partition for _, _, partition in room.published] == ["eu", "us"]
