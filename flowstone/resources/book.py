"""The book of resources: what each is, its handle, and why it has none; of any thread.

It belongs to the runtime, not to the actors that look after the resources: handles survive the restart of an actor. A
set-up may outlast its timeout, or the actor that asked for it. So each has a number:

1. an actor begins a set-up and gets its number; whatever goes on under an earlier one is of no use from now on;
2. the set-up comes back, on a thread of the executor, and offers its handle under its number;
3. the book takes it, or refuses it, and then whoever offered it tears it down again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors import Future
from actors.raw import Guard
from flowstone.errors import ResourceUnavailable, ValidationError, did_you_mean
from flowstone.resources.resource import Resource, check_resources, masked, secrets_of

__all__ = ["Entry", "Replacement", "ResourceBook", "ResourceRow", "ResourceStatus"]

NOT_RUNNING = "the runtime is not running"
STARTING = "it is being set up"
BROKEN = "its actor crashed too often, and nobody looks after it"


class ResourceStatus(enum.StrEnum):
    """Whether a resource can be used."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A resource as it is now; `reason` says why it is down, or what else there is to say.

    One that is `broken` has no actor at present that looks after it, since that crashed too often.
    """

    name: str
    status: ResourceStatus
    reason: str | None = None
    broken: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """A handle in place of a resource's own, until it is taken back; the newest one counts."""

    handle: Any


@dataclass(slots=True, eq=False)
class Entry:
    """One resource: `given` by the user; `live` is the copy that was set up, with its handle.

    `number` counts set-ups; `tried` is settled when the first one has ended, however it did.
    """

    name: str
    given: Any
    live: Resource | None = None
    handle: Any = None
    number: int = 0
    reason: str | None = NOT_RUNNING
    tried: Future[None] = field(default_factory=Future)
    replacements: list[Replacement] = field(default_factory=list)
    broken: bool = False

    @property
    def replaced(self) -> bool:
        """Whether everybody has another handle in its place."""
        return bool(self.replacements)

    @property
    def is_kept(self) -> bool:
        """Whether it has to be set up, other than a plain value."""
        return isinstance(self.given, Resource)

    def row(self) -> ResourceRow:
        """The resource as it is now."""
        if self.replaced:
            return ResourceRow(self.name, ResourceStatus.UP, "overridden")
        if not self.is_kept or self.live is not None:
            return ResourceRow(self.name, ResourceStatus.UP, BROKEN if self.broken else None, self.broken)
        return ResourceRow(self.name, ResourceStatus.DOWN, self.reason, self.broken)


class ResourceBook:
    """The resources of a runtime, by name, in the order of their set-up.

    Raises:
        ValidationError: they are no resources by name.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._gate = Guard()
        self._entries = {name: Entry(name, value) for name, value in check_resources(given or {}).items()}
        self.on_restore: Callable[[str], None] | None = None
        """Told of a resource whose replacement was taken back, while somebody looks after them."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._entries)

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of those that are set up, in order."""
        return tuple(entry.name for entry in self._entries.values() if entry.is_kept)

    def entry(self, name: str) -> Entry:
        """What is known of a resource.

        Raises:
            ValidationError: there is none of this name; suggests the nearest.
        """
        if name not in self._entries:
            raise ValidationError(f"the runtime has no resource {name!r}{did_you_mean(str(name), self._entries)}")
        return self._entries[name]

    def rows(self) -> tuple[ResourceRow, ...]:
        """All resources as they are now."""
        with self._gate:
            return tuple(entry.row() for entry in self._entries.values())

    def handle(self, name: str, timeout: float | None = None) -> Any:
        """The handle of a resource; waits, up to `timeout` real seconds, for a first set-up that goes on.

        Raises:
            ValidationError: there is none of this name.
            ResourceUnavailable: it is down; its reason is told.
        """
        entry = self.entry(name)
        while True:
            with self._gate:
                if entry.replaced:
                    return entry.replacements[-1].handle
                if not entry.is_kept:
                    return entry.given
                if entry.live is not None:
                    return entry.handle
                reason, tried = entry.reason, entry.tried
            # Whoever takes a replacement back while somebody waits begins another set-up.
            if reason != STARTING or tried.done or not tried.settled(timeout):
                raise ResourceUnavailable(f"resource {name!r} is down: {reason}", resource=name)

    # -- for those who look after them

    def open(self) -> None:
        """A runtime starts: nothing is set up yet."""
        with self._gate:
            for entry in self._entries.values():
                entry.live, entry.handle, entry.reason, entry.tried = None, None, STARTING, Future()
                entry.broken = False

    def begin(self, name: str) -> int:
        """A set-up begins: its number."""
        with self._gate:
            entry = self._entries[name]
            entry.number += 1
            return entry.number

    def offer(self, name: str, number: int, live: Resource, handle: Any) -> bool:
        """A set-up has a handle; whether it is taken, else it is the caller's to tear down."""
        with self._gate:
            entry = self._entries[name]
            if entry.number != number or entry.live is not None:
                return False
            entry.live, entry.handle, entry.reason = live, handle, None
        entry.tried.offer(None)
        return True

    def fail(self, name: str, reason: str) -> tuple[Resource | None, Any]:
        """A resource is down, for this reason, and what is under way for it is of no use; what it had until now."""
        with self._gate:
            entry = self._entries[name]
            had = entry.live, entry.handle
            entry.live, entry.handle, entry.reason = None, None, self.masked(name, reason)
            entry.number += 1
        entry.tried.offer(None)
        return had

    def mark(self, name: str, *, broken: bool) -> None:
        """Whether the actor of a resource was given up; one that was not set up by then is down."""
        entry = self._entries[name]
        entry.broken = broken
        if broken and entry.live is None:
            self.fail(name, BROKEN)

    def skip(self, name: str) -> None:
        """A resource is not set up for now, since it is replaced."""
        self._entries[name].tried.offer(None)

    def masked(self, name: str, text: str) -> str:
        """A text about a resource as people may see it."""
        given = self._entries[name].given
        return masked(text, secrets_of(given) if isinstance(given, Resource) else frozenset())

    def replace(self, name: str, handle: Any) -> Replacement:
        """Let everybody have this handle, who waits for a set-up too, until it is taken back."""
        entry, replacement = self.entry(name), Replacement(handle)
        with self._gate:
            entry.replacements.append(replacement)
            waited_for = entry.reason == STARTING and self.on_restore is not None
        if waited_for:
            entry.tried.offer(None)
        return replacement

    def restore(self, name: str, replacement: Replacement) -> None:
        """Take back a replacement, in whatever order; harmless when repeated."""
        entry = self.entry(name)
        with self._gate:
            if replacement not in entry.replacements:
                return
            entry.replacements.remove(replacement)
            begins = entry.is_kept and entry.live is None and not entry.replaced and self.on_restore is not None
            if begins:
                entry.reason = STARTING
                entry.tried = Future() if entry.tried.done else entry.tried
        if begins and self.on_restore is not None:
            self.on_restore(name)
