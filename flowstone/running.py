"""A runtime that runs: what `start` made, in order, and what `stop` takes down again.

Check the definitions, take the store, put back what an earlier boot left running, register the definitions, start the
executors, start the tree. Whatever fails on the way takes down what was there. Stop is the same backwards, after the
runs in progress had until the deadline to finish.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from actors import ActorDeadError, ActorRef, AskTimeout, ChildSpec, Row, System
from actors.events import ActorRestarted, Event
from flowstone.assembly import Definitions, Settings, checked_catalog, offers_of, register_all, services_of
from flowstone.audit.store import record
from flowstone.core.run import RunStatus
from flowstone.ending import Ending
from flowstone.errors import StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.health import Health, health_of
from flowstone.runs import events
from flowstone.runs.dynamic import follow
from flowstone.runs.messages import Quiesce
from flowstone.runs.recovery import put_back, recover, running_of
from flowstone.runs.services import Services
from flowstone.runs.waiters import RunLeft
from flowstone.schedules.calls import Schedules
from flowstone.sensors.calls import Sensors
from flowstone.state.assignment import Cluster
from flowstone.state.connection import Connection
from flowstone.state.nodes import has_no_process, leave
from flowstone.state.store_actor import join
from flowstone.telemetry import Handle
from flowstone.topics import Topics
from flowstone.tree import root_spec

__all__ = ["Opened", "Running", "opened", "start"]

STOPPED = "the runtime was stopped"
"""Why a run was put back that did not finish before the deadline."""

LAST_EVENTS = 1.0
"""Real seconds that handlers of telemetry have for what is queued when the runtime stops."""

LOOKS, PAUSE = 50, 0.02
"""Looks at a node whose process is gone, and real seconds between them."""

log = logging.getLogger(__name__)

_DUE = """
    select run_id from run where status = 'running' or (status = 'queued' and ready_at <= :now and not (
        behind and exists (
            select 1 from run o where o.source_kind = run.source_kind and o.source_name = run.source_name
            and o.id < run.id and o.status in ('queued', 'running', 'waiting_approval')
        )
    )) order by id limit 1
"""
"""What is behind others comes when they have ended, and they may wait for people, or for a later time."""


class Running:
    """The parts of a started runtime.

    `ending` is told when the root is gone; `down` is why it is gone.
    """

    def __init__(self, system: System, made: Opened, root: ActorRef, parts: ExitStack) -> None:
        services, definitions = made.services, made.definitions
        self.system = system
        self.services = services
        self.topics = Topics(services.pubsub, services.polls)
        self.schedules = Schedules(services, definitions.rules)
        self.sensors = Sensors(services, definitions.sensors)
        self.book = definitions.sensors
        self._handlers = definitions.handlers
        self.root = root
        self.ending = Ending()
        self.down: object | None = None
        self._stopping = False
        self._monotonic = system.backend.real.monotonic
        self._parts = parts
        self._watch = system.watch(root, lambda down: self._gone(down.reason))
        self._events = system.events.subscribe(self._record)

    def tree(self) -> Row:
        """The actors as they are now."""
        rows = (row for root in self.system.tree() for row in root.walk())
        return next(row for row in rows if row.path == self.root.path)

    def health(self) -> Health:
        """How the runtime is, computed from what progressed."""
        return health_of(self.services, self.book, self.down, handles=bool(self._handlers))

    def drain(self, limit: float | None) -> bool:
        """Wait until nothing is due, queued or running, for up to `limit` real seconds; whether it came to that."""
        deadline = None if limit is None else self._monotonic() + limit
        while True:
            if not self.system.work.wait_idle(self._left(deadline)):
                return False
            run_id = self._due()
            if run_id is None:
                return True
            if not self._wait_for(run_id, deadline):
                return False

    def stop(self, timeout: float) -> None:
        """Let what runs finish for `timeout` real seconds, put the rest back, and take everything down."""
        deadline = self._monotonic() + timeout
        self.quiesce(timeout)
        try:
            self.root.stop(timeout=max(1.0, deadline - self._monotonic()))
        except (ActorDeadError, AskTimeout) as error:
            log.warning("the tree did not stop: %s", error)
        self.finish()

    def quiesce(self, timeout: float) -> None:
        """Take no more work, and let what runs finish for `timeout` real seconds."""
        self._stopping = True
        self._events.cancel()
        try:
            self.services.directory["dispatcher"].ask(Quiesce(), timeout=timeout)
        except (ActorDeadError, AskTimeout) as error:
            log.warning("runs in progress are put back: %s", error)

    def finish(self) -> None:
        """Put back what still runs, and close the store; the actors are gone."""
        self.system.unwatch(self._watch)
        try:
            for run_id, status in self.services.database.transact(self._put_back).items():
                self.services.waiters.tell(RunLeft(run_id))
                events.interrupted(self.services, run_id, STOPPED)
                if status is RunStatus.FAILED:
                    events.finished(self.services, run_id)
            failpoint("stop.after_put_back")
        except StoreUnavailable as error:
            log.warning("runs in progress are put back at the next start: %s", error)
        finally:
            self.services.waiters.close(f"{STOPPED} before it was over")
            # What was told of runs that have ended is read first, while there is somebody to be told.
            self.services.database.settle_reads()
            self._parts.close()

    def _put_back(self, connection: Connection) -> dict[str, RunStatus | None]:
        services, now = self.services, self.services.clock.now()
        left = {
            run_id: put_back(connection, run_id, now=now, reason=STOPPED, boot=services.boot)
            for run_id in running_of(connection, services.boot)
        }
        leave(connection, boot=services.boot, now=_beating(services, connection))
        return left

    def _due(self) -> str | None:
        """The id of a run that is running, or queued, due, and behind no other."""
        now = self.services.clock.now()
        rows = self.services.database.read(lambda connection: connection.execute(_DUE, now=now))
        return rows[0].run_id if rows else None

    def _wait_for(self, run_id: str, deadline: float | None) -> bool:
        """Wait until a run has finished; it may be over already, or be put off while we wait for it."""
        services = self.services
        future = services.future()
        services.waiters.add(run_id, future)
        try:
            if self._due() == run_id:
                services.waiters.check_open()
                services.wake()
                future.get(timeout=self._left(deadline))
            return True
        except AskTimeout:
            return False
        finally:
            services.waiters.remove(run_id, future)

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._monotonic())

    def _gone(self, reason: object) -> None:
        if not self._stopping:
            self.down = reason
            self.services.waiters.close(f"the tree of actors gave up: {reason!r}; stop() and start() the runtime again")
            self.ending.announce()

    def _record(self, event: Event) -> None:
        """Write down what was restarted, and why: an actor of ours that crashes leaves a trace."""
        if isinstance(event, ActorRestarted) and event.path.startswith(f"{self.root.path}/"):
            self.services.telemetry.emit("flowstone.actor.restart", {"restarts": event.count}, self._about(event))
            self.services.database.write(
                lambda connection: _record_restart(connection, event, self.services.clock.now()),
                then=lambda outcome: None,
            )

    def _about(self, event: ActorRestarted) -> dict[str, str]:
        """The actor as telemetry names it, and the sensor whose actor it is."""
        about = {"actor": event.path, "reason": repr(event.reason)}
        parent, _, name = event.path.rpartition("/")
        return {**about, "sensor": name} if parent == f"{self.root.path}/services/sensors" else about


@dataclass(frozen=True, slots=True)
class Opened:
    """What was made before the tree."""

    services: Services
    definitions: Definitions

    def root(self, settings: Settings) -> ChildSpec:
        """The child spec of the tree over it."""
        services, definitions = self.services, self.definitions
        prunes = settings.retention != math.inf and not services.database.private
        retention = settings.retention if prunes else None
        return root_spec(
            services, definitions, scheduler=settings.scheduler, sensors=settings.sensors, retention=retention
        )


def opened(settings: Settings, system: System, parts: ExitStack) -> Opened:
    """Take the store, put back what an earlier boot left, write the definitions, start the executors.

    `parts` takes it all down again.

    Raises:
        ValidationError: the definitions do not fit together.
        StoreLocked, StoreUnavailable: the store is held by another runtime, or can't be used.
    """
    catalog = checked_catalog(settings)
    database = settings.parts.database(settings.url, work=system.work)
    parts.callback(database.close)
    services = services_of(
        settings, catalog, database, parts, clock=system.clock, work=system.work, pubsub=system.pubsub
    )
    services.telemetry.open(services.polls, services.clock, lambda handle, why: _record_detached(services, handle, why))
    parts.callback(services.telemetry.close, LAST_EVENTS)
    definitions = Definitions.of(settings.pipelines, settings.handlers)
    now = services.clock.now()
    join_cluster(settings, services, definitions)
    for run_id in database.transact(lambda connection: recover(connection, boot=services.boot, now=now)):
        events.interrupted(services, run_id, "its process ended")
    failpoint("start.after_put_back")
    parts.callback(follow(services))
    register_all(settings, services)
    failpoint("start.after_register")
    return Opened(services, definitions)


def join_cluster(settings: Settings, services: Services, definitions: Definitions) -> None:
    """Join the runtimes on this store: from now on, nothing is written unless this node lives."""
    database, membership = services.database, services.membership
    membership.offers = lambda: offers_of(settings, definitions.sensors)
    membership.releases = settings.sensors

    def write(connection: Connection) -> Cluster:
        return join(connection, membership, _beating(services, connection))

    cluster = database.transact(write)
    for _look in range(LOOKS):
        if not any(has_no_process(node) for node in cluster.nodes):
            break
        # One that was killed just now is dead as soon as the server has noticed the end of its connection.
        time.sleep(PAUSE)
        cluster = database.transact(write)
    membership.take(cluster)
    if database.shared:
        database.enlist(membership.boot)


def _beating(services: Services, connection: Connection) -> datetime:
    """The instant by the clock by which nodes beat: a real one, unless nobody else can see the store."""
    return services.clock.now() if services.database.private else connection.now()


def start(settings: Settings) -> Running:
    """Start a runtime, on the host's system or on one of its own.

    Raises:
        ValidationError: the definitions do not fit together.
        StoreLocked, StoreUnavailable: the store is held by another runtime, or can't be used.
    """
    checked_catalog(settings)
    with ExitStack() as parts:
        system = settings.system
        if system is None:
            system = System(backend=settings.backend, clock=settings.clock)
            parts.callback(system.stop)
        made = opened(settings, system, parts)
        return Running(system, made, system.spawn(made.root(settings)), parts.pop_all())


def _record_restart(connection: Connection, event: ActorRestarted, now: datetime) -> None:
    details = {"reason": repr(event.reason), "restarts": event.count}
    record(connection, "actor.restarted", actor="supervisor", resource=f"actor:{event.path}", details=details, at=now)


def _record_detached(services: Services, handle: Handle, why: str) -> None:
    """Write down that a handler of telemetry was detached for its faults."""
    details, now = {"prefix": handle.prefix, "reason": why}, services.clock.now()
    services.database.write(
        lambda connection: record(
            connection,
            "telemetry.detached",
            actor="runtime",
            resource=f"telemetry:{handle.name}",
            details=details,
            at=now,
        ),
        then=lambda outcome: None,
    )
