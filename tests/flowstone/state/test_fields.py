"""Values keep their meaning on the way into the store and back."""

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone.errors import ValidationError
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.fields import Json, instant, instant_text, json_text, json_value


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\ud800"))


class Colour(StrEnum):
    RED = "red"


def stored(database: Database, value: object) -> object:
    return database.read(lambda connection: connection.execute("select :value as it", value=value))[0].it


def test_an_instant_is_fixed_width_text_in_utc() -> None:
    assert instant_text(datetime(25, 1, 5, 2, tzinfo=timezone(timedelta(hours=2)))) == "0025-01-05T00:00:00.000000Z"


@pytest.mark.property
@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_stored_instants_come_back_and_sort_as_they_do(one: datetime, other: datetime) -> None:
    assert instant(instant_text(one)) == one
    assert (instant_text(one) < instant_text(other)) == (one < other)


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValidationError, match="aware"):
        instant_text(datetime(2025, 1, 1))


def test_no_instant_stays_none() -> None:
    assert instant(None) is None


@pytest.mark.parametrize("value", [None, True, 3, 1.5, "text", [1, {"a": "ü"}], {"k": [None]}])
def test_json_comes_back(value: object) -> None:
    assert json_value(json_text(value)) == value


def test_absent_json_stays_none() -> None:
    assert json_value(None) is None


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, b"bytes"])
def test_what_json_has_no_form_for_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="JSON"):
        json_text(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValidationError, match="JSON"):
        json_text(loop)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, 1),
        (7, 7),
        (1.5, 1.5),
        ("text", "text"),
        (b"raw", b"raw"),
        (Colour.RED, "red"),
        ({"a": [1]}, '{"a":[1]}'),
        (["b"], '["b"]'),
        (("c", 1), '["c",1]'),
        (Json("text"), '"text"'),
        (Json(None), "null"),
        ([], "[]"),
        (-(2**63), -(2**63)),
        (1e22, 1e22),
        ("it's", "it's"),
    ],
)
def test_values_are_bound_in_their_stored_form(database: Database, value: object, expected: object) -> None:
    assert stored(database, value) == expected


@pytest.mark.parametrize("value", [object(), {1, 2}, "caf\udce9", 2**63, -(10**30)], ids=range(5))
def test_what_no_store_holds_is_refused(database: Database, value: object) -> None:
    with pytest.raises(ValidationError, match="that the store can hold"):
        database.read(lambda connection: connection.execute("select id from run where run_key = :value", value=value))
    with pytest.raises(ValidationError, match="that the store can hold"):
        database.transact(lambda connection: connection.change("delete from run where run_key = :value", value=value))


def test_an_instant_comes_back_from_where_it_was_stored(database: Database) -> None:
    at = datetime(2025, 1, 15, 2, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
    values = {"event": "x", "at": at}
    database.transact(
        lambda connection: connection.execute(
            "insert into audit (event_type, actor, resource, details, at) values (:event, 'y', 'z', '{}', :at)", values
        )
    )
    (row,) = database.read(lambda connection: connection.execute("select at from audit where at = :at", at=at))
    assert instant(row.at) == at
    assert instant(row.at).tzinfo is UTC


@pytest.mark.property
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_comes_back_from_the_store_as_it_was(database: Database, value: object) -> None:
    def store(connection: Connection) -> object:
        sql = "insert into outbox (sensor, eval_id, partition, payload, status, attempts, created_at) "
        sql += "values ('s', 'e', '', :payload, 'pending', 0, :at) returning payload"
        return json_value(connection.execute(sql, payload=Json(value), at=datetime(2025, 1, 15, tzinfo=UTC))[0].payload)

    assert repr(database.transact(store)) == repr(value)
