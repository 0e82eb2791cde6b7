"""What an asset sees as `context.resources`: the handles of the resources that it requires, and no others.

On the way to a worker process handles stay behind: there, each resource is set up anew when it is first used, once for
each worker. Plain values, and what tests put in place of a resource, travel themselves.
"""

from __future__ import annotations

import atexit
import logging
import pickle
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from flowstone.errors import ResourceUnavailable, did_you_mean, text_of
from flowstone.executors.call import awaited
from flowstone.resources.book import ResourceBook
from flowstone.resources.resource import Resource, masked, resolved, secrets_of

__all__ = ["Handles", "handles_of"]

log = logging.getLogger(__name__)


class Handles:
    """Handles by name: `resources.warehouse`, or `resources["warehouse"]` for names that are no Python names."""

    __slots__ = ("_asset", "_handles", "_parcels")

    def __init__(self, asset: str, handles: dict[str, Any], parcels: tuple[Any, ...] = ()) -> None:
        self._asset = asset
        self._handles = handles
        self._parcels = parcels

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._handles:
            required = ", ".join(self._handles) or "none"
            hint = did_you_mean(name, self._handles) or f"; add {name!r} to its requires="
            raise AttributeError(f"asset {self._asset!r} requires no resource {name!r}, but: {required}{hint}")
        return self._found(name)

    def __getitem__(self, name: str) -> Any:
        return self._found(name) if name in self._handles else getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __contains__(self, name: object) -> bool:
        return name in self._handles

    def __len__(self) -> int:
        return len(self._handles)

    def __repr__(self) -> str:
        return f"<resources of {self._asset}: {', '.join(self._handles) or 'none'}>"

    def _found(self, name: str) -> Any:
        found = self._handles[name]
        return found.handle() if isinstance(found, _Remote) else found

    def __reduce__(self) -> Any:
        return _unpacked, (self._asset, tuple(_checked(*parcel) for parcel in self._parcels))


class _Remote:
    """A resource within a worker process, set up when it is first used."""

    standing: dict[str, tuple[int, Resource, Any]] = {}
    """Those that this process has set up, with the number of the set-up in the parent that they follow."""

    def __init__(self, name: str, number: int, resource: Resource) -> None:
        self._name, self._number, self._resource = name, number, resource

    def handle(self) -> Any:
        """The handle, of a resource that is as old as the parent's.

        Raises:
            ResourceUnavailable: it can't be set up.
        """
        found = self.standing.get(self._name)
        if found is not None and found[0] == self._number:
            return found[2]
        if found is not None:
            self.take_down(self._name)
        try:
            live = resolved(self._resource)
            handle = awaited(live.setup())
        except Exception as error:
            text = masked(f"{type(error).__name__}: {text_of(error)}", secrets_of(self._resource))
            message = f"resource {self._name!r} could not be set up in a worker process: {text}"
            raise ResourceUnavailable(message, resource=self._name) from None
        self.standing[self._name] = (self._number, live, handle)
        return handle

    @classmethod
    def take_down(cls, name: str) -> None:
        """Tear one down; what goes wrong is logged."""
        _, live, handle = cls.standing.pop(name)
        try:
            awaited(live.teardown(handle))
        except Exception as error:
            log.error("resource %s: %s", name, masked(f"{type(error).__name__}: {text_of(error)}", secrets_of(live)))


def handles_of(book: ResourceBook, asset: str, names: tuple[str, ...]) -> Handles:
    """What an asset that requires these gets; waits for a first set-up that goes on.

    Raises:
        ResourceUnavailable: one is down; its reason is told.
        ValidationError: there is none of this name.
    """
    handles = {name: book.handle(name) for name in names}
    entries = [book.entry(name) for name in names]
    parcels = tuple(
        (entry.name, entry.number, entry.given, True)
        if entry.is_kept and not entry.replaced
        else (entry.name, 0, handles[entry.name], False)
        for entry in entries
    )
    return Handles(asset, handles, parcels)


def _checked(name: str, number: int, value: Any, is_resource: bool) -> tuple[str, int, bytes, bool]:
    try:
        return name, number, pickle.dumps(value), is_resource
    except Exception as error:
        advice = "keep plain options in a Resource, which is set up again in each worker process"
        raise pickle.PicklingError(f"resource {name!r} can't be pickled: {error}; {advice}") from error


def _unpacked(asset: str, parcels: tuple[tuple[str, int, bytes, bool], ...]) -> Handles:
    """In the worker process: the same names."""
    handles: dict[str, Any] = {}
    for name, number, data, is_resource in parcels:
        value = pickle.loads(data)
        handles[name] = _Remote(name, number, value) if is_resource else value
    return Handles(asset, handles)


@atexit.register
def _take_all_down() -> None:
    """A worker process that ends by itself tears down what it set up, the last first."""
    for name in reversed(tuple(_Remote.standing)):
        with suppress(KeyError):
            _Remote.take_down(name)
