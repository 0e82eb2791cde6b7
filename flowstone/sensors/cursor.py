"""The cursor: a sensor's state in its stored form, JSON in a versioned envelope.

    {"v":1,"type":"QueueDepth","state":{"seen":3}}

The type is the name of the sensor's class, so that a cursor is never handed to a class that did not write it, and
moving the class to another module loses nothing.
"""

import json
from typing import Any

from flowstone.errors import ValidationError, shown
from flowstone.sensors.sensor import Sensor

__all__ = ["VERSION", "envelope", "read_state", "write_state"]

VERSION = 1

# Made once: json.dumps makes an encoder for each call that has options.
_STATE = json.JSONEncoder(allow_nan=False)
_CURSOR = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":"))


def write_state(sensor: Sensor, state: Any) -> str:
    """The cursor that holds a state; equal states give equal text.

    Raises:
        ValidationError: the state is no JSON, that is, reading it back would give something else.

    >>> from flowstone.sensors.builtin.file_arrival import FileArrival
    >>> write_state(FileArrival(path="/data"), {"seen": 3})
    '{"state":{"seen":3},"type":"FileArrival","v":1}'
    """
    try:
        text = _STATE.encode(state)
        same = bool(json.loads(text) == state)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"expected the state to be JSON, got: {shown(state)} ({error})") from error
    if not same:
        got = f"{shown(state)}, which JSON would give back as {shown(json.loads(text))}"
        raise ValidationError(f"expected the state to be JSON, with lists for tuples and texts for keys, got: {got}")
    wrapped = {"v": VERSION, "type": type(sensor).__name__, "state": state}
    return _CURSOR.encode(wrapped)


def read_state(sensor: Sensor, cursor: str) -> Any:
    """The state that a cursor holds, a value of its own each time.

    Raises:
        ValidationError: the cursor is damaged, of another version, or was written by another type of sensor.
    """
    opened = envelope(cursor)
    wanted = {"v": VERSION, "type": type(sensor).__name__}
    if not isinstance(opened, dict) or {key: opened.get(key) for key in wanted} != wanted or "state" not in opened:
        raise ValidationError(
            f"expected a cursor of version {VERSION} and type {wanted['type']}, got: {shown(cursor)}; "
            "reset the sensor to start afresh",
            cursor=cursor,
        )
    return opened["state"]


def envelope(cursor: str | None) -> Any:
    """The envelope that a stored cursor stands for, as it is; a damaged one stays text, none stays None."""
    if cursor is None:
        return None
    try:
        return json.loads(cursor)
    except (ValueError, RecursionError):
        return cursor
