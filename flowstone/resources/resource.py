"""The resource, as users write it: how to set something up, whether it is well, how to take it down."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from flowstone.core.names import check_name
from flowstone.durations import seconds
from flowstone.errors import ResourceUnavailable, ValidationError, shown

__all__ = [
    "CALL_TIMEOUT",
    "MASK",
    "Resource",
    "check_resources",
    "masked",
    "presentable",
    "resolved",
    "secrets_of",
    "timeout_of",
]

R = TypeVar("R", bound="Resource")

CALL_TIMEOUT = 30.0
"""Seconds that `setup`, `teardown` and `health_check` may take."""

MASK = "***"

_ENV = "env"
_SECRET = re.compile(
    r"secret|passw(or)?d|passphrase|token|credential|api_?key|access_?key|private_?key|authorization|cookie",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?P<user>[A-Za-z][A-Za-z0-9+.-]*://[^/@:\s]*:)[^/\s]*@")


class Resource:
    """What assets use and share: a connection pool, a client, a model in memory.

    Subclasses take their options in `__init__` and keep them as attributes. An option `("env", "NAME")` is read from
    the environment each time when the resource is set up. Any method may be `async`; each call of one has
    `call_timeout`, a duration. An asset in a process of its own gets one that was set up there.

    >>> class Warehouse(Resource):
    ...     def __init__(self, url, password): self.url, self.password = url, password
    ...     def setup(self): return f"connected to {self.url}"
    >>> Warehouse("db://here", ("env", "DB_PASSWORD"))
    Warehouse(url='db://here', password=('env', 'DB_PASSWORD'))
    """

    call_timeout: float | timedelta | str = CALL_TIMEOUT

    def setup(self) -> Any:
        """Make the handle that assets get as `context.resources.<name>`."""
        raise NotImplementedError(f"{type(self).__name__} has no setup()")

    def teardown(self, handle: Any) -> Any:
        """Release the handle; by default nothing."""

    def health_check(self, handle: Any) -> Any:
        """Whether the handle is well: False, or an exception, means ill; by default it always is."""
        return True

    def __repr__(self) -> str:
        options = (f"{name}={presentable(name, value)}" for name, value in _options(self) if name[:1] != "_")
        return f"{type(self).__name__}({', '.join(options)})"


def resolved(resource: R) -> R:
    """A copy of the resource with what it wants from the environment in place.

    Raises:
        ResourceUnavailable: a variable is not set.
    """
    made = copy.copy(resource)
    for name, value in _options(resource):
        found = _read(value)
        if found is not value:
            object.__setattr__(made, name, found)
    return made


def timeout_of(resource: Resource, name: str) -> float:
    """The seconds that each call of the resource of this name may take.

    Raises:
        ValidationError: its `call_timeout` is no duration.
    """
    return seconds(resource.call_timeout, f"call_timeout of resource {name!r}", minimum=0.001)


def secrets_of(resource: Resource) -> frozenset[str]:
    """The texts among the options of a resource that nobody is to see: what the environment had, and passwords."""
    found: set[str] = set()
    for name, value in _options(resource):
        if _SECRET.search(name):
            found.update(_texts(value))
        found.update(_from_environment(value))
    return frozenset(text for text in found if text)


def masked(text: str, secrets: frozenset[str]) -> str:
    """A text without these secrets, and without passwords in URLs.

    >>> masked("no answer from db://me:secret@here with hunter2", frozenset({"hunter2"}))
    'no answer from db://me:***@here with ***'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _USERINFO.sub(rf"\g<user>{MASK}@", text)


def check_resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the resources by name, in order.

    Raises:
        ValidationError: it is no mapping, a name is no name, a class was given in place of what it makes, or a call
            of a resource would end at no time.
    """
    if not isinstance(given, Mapping):
        raise ValidationError(f"expected resources to be a mapping of names to resources, got: {shown(given)}")
    for name, value in given.items():
        check_name("resource", name)
        if isinstance(value, type) and issubclass(value, Resource):
            raise ValidationError(f"expected resource {name!r} to be made, as {value.__name__}(…), got the class")
        if isinstance(value, Resource):
            timeout_of(value, name)
    return dict(given)


def _options(resource: Resource) -> Iterator[tuple[str, Any]]:
    slots = (name for cls in type(resource).__mro__ for name in getattr(cls, "__slots__", ()))
    for name in slots:
        if hasattr(resource, name) and name not in ("__dict__", "__weakref__"):
            yield name, getattr(resource, name)
    yield from getattr(resource, "__dict__", {}).items()


def _is_variable(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and value[0] == _ENV and isinstance(value[1], str)


def _read(value: Any) -> Any:
    """The value with each variable in it read, the same object when it holds none."""
    if _is_variable(value):
        if value[1] not in os.environ:
            raise ResourceUnavailable(f"the environment has no {value[1]}", variable=value[1])
        return os.environ[value[1]]
    if type(value) in (list, tuple):
        read = [_read(item) for item in value]
        return value if all(a is b for a, b in zip(read, value, strict=True)) else type(value)(read)
    if type(value) is dict:
        items = {key: _read(item) for key, item in value.items()}
        return value if all(items[key] is value[key] for key in value) else items
    return value


def _from_environment(value: Any) -> Iterator[str]:
    if _is_variable(value):
        yield os.environ.get(value[1], "")
    elif type(value) in (list, tuple):
        for item in value:
            yield from _from_environment(item)
    elif type(value) is dict:
        for item in value.values():
            yield from _from_environment(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple) and not _is_variable(value):
        for item in value:
            yield from _texts(item)


def presentable(name: str, value: Any) -> str:
    """An option, or a resource, of this name as people may see it.

    >>> presentable("password", "hunter2"), presentable("url", "db://me:hunter2@here")
    ("'***'", "'db://me:***@here'")
    """
    if _SECRET.search(name) and value is not None and not _is_variable(value):
        return repr(MASK)
    return masked(shown(value), frozenset())
