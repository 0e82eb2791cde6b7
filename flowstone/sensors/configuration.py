"""A sensor's type and configuration as people see them: the constructor's parameters, secrets masked."""

import inspect
import re
from collections.abc import Mapping
from datetime import date, timedelta
from os import PathLike, fspath
from typing import Any

from flowstone import durations
from flowstone.sensors.sensor import Sensor

__all__ = ["MASK", "describe", "import_path", "presentable"]

MASK = "***"

_SECRET = re.compile(
    r"secret|passw(or)?d|passphrase|token|credential|api_?key|access_?key|private_?key|authorization|cookie",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/@:\s]*):(?P<password>[^/\s]*)@")
_QUERY = re.compile(
    r"(?P<name>[?&][^=&\s]*(?:secret|password|token|key|signature)[^=&\s]*=)[^&\s#]*",
    re.IGNORECASE,
)
_DEEPEST = 8
_ABSENT = object()


def import_path(thing: object) -> str:
    """Where a class or function is defined: `package.module.Name`.

    >>> import_path(Sensor)
    'flowstone.sensors.sensor.Sensor'
    """
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return f"{module}.{name}"


def describe(sensor: Sensor) -> dict[str, Any]:
    """The configuration of a sensor as JSON: the constructor's parameters and the attributes that hold them.

    A parameter `url` is looked up as `url` and as `_url`; one that is kept under neither name is left out. The same
    configuration gives the same answer in every process.
    """
    config: dict[str, Any] = {}
    for name in inspect.signature(type(sensor)).parameters:
        held = getattr(sensor, name, getattr(sensor, f"_{name}", _ABSENT))
        if held is not _ABSENT:
            config[name] = _shown(name, held)
    return config


def presentable(value: object, depth: int = 0) -> Any:
    """A value as JSON that says what it is: plain values stay, passwords in URLs are masked, the rest is a name."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, float) or value - value == 0 else str(value)
    if isinstance(value, str):
        return _without_password(value)
    if isinstance(value, timedelta):
        return durations.text(value.total_seconds()) if value >= timedelta(0) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PathLike):
        return str(fspath(value))
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key): _shown(str(key), held, depth + 1) for key, held in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [presentable(held, depth + 1) for held in value]
    return import_path(value) if callable(value) else import_path(type(value))


def _shown(name: str, value: object, depth: int = 0) -> Any:
    if _SECRET.search(name) and value is not None:
        return MASK
    return presentable(value, depth)


def _without_password(text: str) -> str:
    masked = _USERINFO.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    return _QUERY.sub(rf"\g<name>{MASK}", masked)
