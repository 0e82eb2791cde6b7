"""The keeper: one actor for each resource, which sets it up and looks after it.

User code runs in the executor; the keeper gets what became of it as a message. One that is ill is torn down and set up
again, later each time: after `base * 2 ** (failures - 1)` seconds, `CAP` at most, until a check finds it well. One of
whose calls `MOST` were given up and still go on is left alone until one of them has ended: each holds a thread.

Options: `HEALTH_EVERY` (seconds, 30), `BASE` (seconds, 1), `CAP` (seconds, 300), `MOST` (8), and the resource's
`call_timeout`.
Events: flowstone.resource.up, flowstone.resource.down (resource, reason).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.errors import RuntimeStopped
from flowstone.executors.threads import ThreadExecutor
from flowstone.outcome import Outcome
from flowstone.resources.book import ResourceBook
from flowstone.resources.care import check, set_up, tear_down, why
from flowstone.resources.resource import timeout_of
from flowstone.telemetry import Telemetry

__all__ = ["BASE", "CAP", "HEALTH_EVERY", "MOST", "Keeper", "SetUp", "Surroundings", "Tried"]

HEALTH_EVERY = 30.0
BASE = 1.0
CAP = 300.0
MOST = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What keepers work with; `directory` holds the refs of the running services by name."""

    book: ResourceBook
    executor: ThreadExecutor
    telemetry: Telemetry
    directory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetUp:
    """Set the resource up, unless it is."""


@dataclass(frozen=True, slots=True)
class Check:
    """Look whether the resource is well."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A call of the resource has ended: `setup`, `health_check` or `teardown`, begun under this number."""

    what: str
    number: int
    outcome: Outcome[Any]


@dataclass(frozen=True, slots=True)
class Tried:
    """The first set-up of a resource has ended: it is the next one's turn. For the supervisor."""

    name: str


class Keeper(Actor):
    """Looks after one resource."""

    def init(self, around: Surroundings, name: str) -> None:
        """Take up what a predecessor left; a first set-up waits for its turn."""
        self.name = name
        self.failures = 0
        self.busy = False
        self._around = around
        self._book = around.book
        self._entry = around.book.entry(name)
        if self._entry.tried.done:
            self.ref.tell(SetUp())
        self.send_every(HEALTH_EVERY, Check())

    def receive(self, message: Any) -> None:
        """Serve one message of this module."""
        if isinstance(message, SetUp):
            self._set_up()
        elif isinstance(message, Check):
            self._check()
        elif isinstance(message, Ended):
            self._ended(message)

    def describe(self) -> dict[str, Any]:
        """Return how the resource is."""
        row = self._entry.row()
        return {"status": str(row.status), "reason": row.reason, "failures": self.failures}

    def _set_up(self) -> None:
        if self.busy or self._entry.live is not None:
            return
        if self._entry.replaced:
            self._book.skip(self.name)
            self._tell_tried()
            return
        if self._hanging() >= MOST:
            self._book.fail(self.name, f"{MOST} calls of it were given up and still go on: its methods need timeouts")
            self._tell_tried()
            self.send_after(CAP, SetUp())
            return
        number = self._book.begin(self.name)
        self._call("setup", number, lambda: set_up(self._book, self.name, number))

    def _check(self) -> None:
        live, handle, number = self._entry.live, self._entry.handle, self._entry.number
        if self.busy or live is None:
            return
        self._call("health_check", number, lambda: check(live, handle))

    def _hanging(self) -> int:
        """How many calls of the resource were given up and still go on."""
        return sum(call.name.startswith(f"resource {self.name} ") for call in self._around.executor.abandoned())

    def _call(self, what: str, number: int, fn: Callable[[], Any]) -> None:
        self.busy = True
        try:
            self._around.executor.submit(
                fn,
                timeout=timeout_of(self._entry.given, self.name),
                name=f"resource {self.name} {what}",
                then=lambda outcome: self._post(Ended(what, number, outcome)),
            )
        except RuntimeStopped:
            log.debug("%s of resource %s came after the end", what, self.name)

    def _ended(self, message: Ended) -> None:
        self.busy = False
        if message.what == "teardown":
            self._log_failed_teardown(message.outcome)
            self.send_after(self._delay(), SetUp())
        elif not message.outcome.ok:
            self._failed(message)
        elif message.what == "setup":
            if message.outcome.value:
                self._tell("up", None)
            self._tell_tried()
        else:
            self.failures = 0

    def _failed(self, message: Ended) -> None:
        self.failures += 1
        live, handle = self._book.fail(self.name, why(message.outcome, message.what))
        self._tell("down", self._entry.reason)
        self._tell_tried()
        if live is None:
            self.send_after(self._delay(), SetUp())
        else:
            self._call("teardown", message.number, lambda: tear_down(live, handle))

    def _delay(self) -> float:
        return float(min(CAP, BASE * 2 ** min(self.failures - 1, 20)))

    def _log_failed_teardown(self, outcome: Outcome[Any]) -> None:
        if not outcome.ok:
            reason = self._book.masked(self.name, why(outcome, "teardown"))
            log.error("resource %s was not torn down: %s", self.name, reason)

    def _tell(self, what: str, reason: str | None) -> None:
        if reason is not None:
            log.warning("resource %s is down: %s", self.name, reason)
        metadata = {"resource": self.name, "reason": reason}
        event = "flowstone.resource.up" if what == "up" else "flowstone.resource.down"
        self._around.telemetry.emit(event, {"failures": self.failures}, metadata)

    def _tell_tried(self) -> None:
        supervisor = self._around.directory.get("resources")
        if supervisor is not None:
            supervisor.tell(Tried(self.name))

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for resource %s", message, self.name)
