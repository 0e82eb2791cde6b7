"""The stored form of a sensor's state."""

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.errors import ValidationError
from flowstone.sensors import Sensor
from flowstone.sensors.cursor import envelope, read_state, write_state

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Counting(Sensor):
    def poll(self, state: Any) -> Any:
        raise NotImplementedError


class Other(Counting):
    pass


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.property
@given(JSON)
def test_reading_gives_back_what_was_written(state: Any) -> None:
    cursor = write_state(Counting(), state)
    assert read_state(Counting(), cursor) == state
    assert json.loads(cursor) == {"v": 1, "type": "Counting", "state": state}
    cursor.encode("utf-8")


def test_equal_states_give_equal_text() -> None:
    assert write_state(Counting(), {"a": 1, "b": 2}) == write_state(Counting(), {"b": 2, "a": 1})


def test_a_text_enum_is_text() -> None:
    assert read_state(Counting(), write_state(Counting(), {"colour": Colour.RED})) == {"colour": "red"}


def nested(depth: int) -> Any:
    state: Any = []
    for _ in range(depth):
        state = [state]
    return state


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "state",
    [(1, 2), {1: "a"}, {"a": {None: 1}}, {1, 2}, object(), float("nan"), b"x", nested(100_000), ENDLESS],
    ids=["tuple", "number as key", "none as key", "set", "object", "nan", "bytes", "too deep", "endless"],
)
def test_what_json_would_not_give_back_is_refused(state: Any) -> None:
    with pytest.raises(ValidationError, match="expected the state to be JSON"):
        write_state(Counting(), state)


@pytest.mark.parametrize(
    "cursor",
    ["", "no", "[]", "17", "null", '{"v":2,"type":"Counting","state":1}', '{"v":1,"type":"Counting"}', "[" * 100_000],
)
def test_a_cursor_that_can_not_be_read_is_refused(cursor: str) -> None:
    with pytest.raises(ValidationError, match="reset the sensor"):
        read_state(Counting(), cursor)


def test_a_cursor_of_another_type_is_refused() -> None:
    with pytest.raises(ValidationError, match="type Other"):
        read_state(Other(), write_state(Counting(), 1))


def test_the_envelope_shows_a_damaged_cursor_as_it_is() -> None:
    assert envelope("nonsense") == "nonsense"
    assert envelope(None) is None
    assert envelope('{"v":1}') == {"v": 1}
