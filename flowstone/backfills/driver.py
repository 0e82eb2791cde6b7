"""The actor that keeps backfills going: it takes their steps as their runs end, and finds them again when it starts.

It hears of the ends of runs in this process, and looks into the store when another one has committed. Nothing of a
backfill is in its memory but which runs are under way: whoever drives after it reads the rows.

Options: `STORE_RETRY` (seconds, 0.5). Events: `flowstone.backfill.started` and `flowstone.backfill.finished`.
Registers as `backfills` in the directory.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.backfills import steps, store
from flowstone.backfills.steps import Stepped
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs import events
from flowstone.runs.services import Services
from flowstone.runs.waiters import RunLeft
from flowstone.state.store_actor import TOPIC, StoreChanged

__all__ = ["Backfills", "go_on", "waiting_key"]

STORE_RETRY = 0.5
NEWS = "backfill:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """Something may be to be done: look into the store."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Something is to be done for this backfill."""

    id: str


@dataclass(frozen=True, slots=True)
class Left:
    """A run of a backfill has ended, or was put off."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Found:
    """It was read for which backfills something is to be done, and whose runs are under way."""

    outcome: Outcome[tuple[tuple[str, ...], dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Taken:
    """A step was committed, or failed."""

    id: str
    outcome: Outcome[Stepped]


def go_on(services: Services, identifier: str) -> None:
    """Let a backfill go on, after a commit that changed it, and tell those who wait for it."""
    services.waiters.tell(RunLeft(waiting_key(identifier)))
    driver = services.directory.get("backfills")
    if driver is not None:
        # One that is being restarted looks by itself.
        with suppress(ActorDeadError):
            driver.tell(GoOn(identifier))


def waiting_key(identifier: str) -> str:
    """Under which key one waits for news of a backfill."""
    return f"{NEWS}{identifier}"


class Backfills(Actor):
    """One for each runtime."""

    def init(self, services: Services) -> None:
        """Find the backfills that are not finished."""
        self.services = services
        self.runs: dict[str, str] = {}
        self.stepping: set[str] = set()
        self.again: set[str] = set()
        self.looking = False
        self.stale = False
        services.directory["backfills"] = self.ref
        services.waiters.listener = self._left
        services.pubsub.subscribe(TOPIC, self.ref)
        self._look()

    def receive(self, message: Any) -> None:
        """Serve one message of this module."""
        match message:
            case GoOn(identifier):
                self._step(identifier)
            case Left(run_id):
                self._settle(run_id)
            case Taken(identifier, outcome):
                self._taken(identifier, outcome)
            case Look() | StoreChanged():
                self._look()
            case Found(outcome):
                self._found(outcome)

    def terminate(self, reason: object) -> None:
        """Hear of no more runs."""
        if self.services.waiters.listener == self._left:
            self.services.waiters.listener = None

    def _look(self) -> None:
        # Read first: a write that changes nothing would be a commit of which others hear, and look in turn.
        self.stale = self.looking
        if not self.looking:
            self.looking = True
            self.services.database.read_later(store.due, lambda outcome: self._post(Found(outcome)))

    def _found(self, outcome: Outcome[tuple[tuple[str, ...], dict[str, str]]]) -> None:
        self.looking = False
        if outcome.error is not None:
            self._failed(outcome.error, Look())
            return
        due, runs = outcome.unwrap()
        # What a step of ours has added meanwhile may be newer than what was read.
        self.runs |= runs
        for identifier in due:
            self._step(identifier)
        if self.stale:
            self._look()

    def _settle(self, run_id: str) -> None:
        if run_id in self.runs:
            self._step(self.runs[run_id])
        else:
            # A run may end before we know that the step which asked for it is committed, or between a look and its
            # answer, which takes it for one that is under way.
            self.again |= self.stepping
            self.stale = self.stale or self.looking

    def _step(self, identifier: str) -> None:
        """Take the next step of a backfill; one at a time of each."""
        if identifier in self.stepping:
            self.again.add(identifier)
            return
        self.stepping.add(identifier)
        services = self.services
        services.database.write(
            lambda connection: steps.take(connection, services, identifier, services.clock.now()),
            then=lambda outcome: self._post(Taken(identifier, outcome)),
        )

    def _taken(self, identifier: str, outcome: Outcome[Stepped]) -> None:
        if outcome.error is not None:
            self.stepping.discard(identifier)
            self.again.discard(identifier)
            self._failed(outcome.error, GoOn(identifier))
            return
        failpoint("backfill.after_step")
        services, stepped = self.services, outcome.unwrap()
        self.runs = {run_id: of for run_id, of in self.runs.items() if of != identifier}
        self.runs |= dict.fromkeys(stepped.under_way, identifier)
        # Only now: other threads tell of a run when it is known, or while a step is in progress.
        self.stepping.discard(identifier)
        if stepped.requested:
            events.requested(services, *stepped.requested)
            services.wake()
        if stepped.finished is not None:
            about = {"backfill": identifier, "status": stepped.finished.value}
            services.telemetry.emit("flowstone.backfill.finished", {"count": 1}, about)
        services.waiters.tell(RunLeft(waiting_key(identifier)))
        if stepped.more or identifier in self.again:
            self.again.discard(identifier)
            self._step(identifier)

    def _failed(self, error: BaseException, again: object) -> None:
        log.warning("backfills wait for the store: %s", error)
        self.send_after(STORE_RETRY, again)

    def _left(self, run_id: str) -> None:
        """On any thread: somebody is done with a run, or there is news of a backfill, which is ours anyway."""
        if not run_id.startswith(NEWS) and (run_id in self.runs or self.stepping or self.looking):
            self._post(Left(run_id))

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the backfills", message)
