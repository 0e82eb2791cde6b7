"""The store's actor: keeps this node alive in the store, and tells the other actors what others did.

Events: topic `store` of the pub/sub gets a `StoreChanged` within a second of another process's commit, topic `nodes` a
`DutiesChanged` when nodes came or went, or this one has other duties than before.

Heartbeats are there for other processes, which live in real time: they come in real time whatever clock the actors
have. A store that only this process can see has nobody to tell and nobody to listen to, and is left alone.

A node that was taken for dead, since it was stopped or cut off for three heartbeats, learns of it from its next
transaction, which is refused. Its actor then crashes: so all services end, whatever they had in hand, and begin anew
once this actor has joined as another boot. Until then their transactions are refused, or find their leases gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.errors import FlowstoneError, StaleState
from flowstone.outcome import Outcome
from flowstone.state import nodes
from flowstone.state.assignment import Cluster, Node
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.membership import Membership

__all__ = [
    "NODES",
    "TOPIC",
    "DutiesChanged",
    "Heartbeat",
    "OutsideCommit",
    "StoreActor",
    "StoreChanged",
    "join",
]

log = logging.getLogger(__name__)

LOOKS = 5
"""Looks at the other nodes in the time of a heartbeat."""

STEADY = 2
"""Heartbeats in a row, none of them late, after which the silence of another node is its own fault."""

TOPIC = "store"
NODES = "nodes"


@dataclass(frozen=True, slots=True)
class StoreChanged:
    """Another process has committed to the store: what was read from it may have changed."""


@dataclass(frozen=True, slots=True)
class DutiesChanged:
    """Nodes came or went, or this one's duties are others; see `Membership`."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Write that this node is alive."""


@dataclass(frozen=True, slots=True)
class Beaten:
    """It was written, at an instant of the database's clock, or the store failed."""

    outcome: Outcome[datetime]


@dataclass(frozen=True, slots=True)
class Look:
    """Look at the other nodes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The nodes that live, and when that was, or the store failed."""

    outcome: Outcome[tuple[Cluster, datetime]]


@dataclass(frozen=True, slots=True)
class Buried:
    """The nodes that were dead are ended, or the store failed."""

    outcome: Outcome[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing goes on here any more that was another's in an epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Rejoin:
    """What the boot before had asked of the store has been answered: join as another one, or try that again."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """It was written that this node has joined, or the store failed."""

    outcome: Outcome[Cluster]


@dataclass(frozen=True, slots=True)
class OutsideCommit:
    """The watch has found a commit of another process."""


def join(connection: Connection, membership: Membership, now: datetime) -> Cluster:
    """Join as a node that does nothing yet, and end those that are dead; all others are, where one may be at a time.

    Harmless when repeated.
    """
    boot, membership.offered = membership.boot, membership.offers()
    nodes.join(connection, boot=boot, name=membership.name, offers=membership.offered, now=now)
    if membership.shared:
        nodes.bury(connection, boot=boot, now=now, steady=False)
    else:
        nodes.end_others(connection, boot=boot, now=now)
    nodes.settle(connection, boot=boot, epoch=None)
    return nodes.cluster_of(connection)


class StoreActor(Actor):
    """One for each runtime, whose membership has joined; an error of the store is a warning here, and tried again."""

    def init(self, database: Database, membership: Membership) -> None:
        """Begin to beat and to listen; join first when the boot before was taken for dead."""
        self._database = database
        self._membership = membership
        self._heard: datetime | None = None
        self._steady = 0
        self._timers: dict[type[Any], Any] = {}
        if database.private:
            return
        self._take_back = database.on_outside_commit(lambda: self._tell(OutsideCommit()))
        membership.on_released = lambda epoch: self._tell(Released(epoch))
        membership.on_stirred = lambda: self._tell(Look())
        self._real = self.system.backend.real
        if membership.lost is None:
            self._begin()
        else:
            self._ask(database.write, lambda connection: None, lambda outcome: Rejoin())

    def receive(self, message: object) -> None:
        """Serve one message of this module."""
        match message:
            case Heartbeat():
                self._beat()
            case Beaten(outcome):
                self._beaten(outcome)
            case Look():
                self._look()
            case Seen(outcome):
                self._seen(outcome)
            case Buried(outcome):
                self._buried(outcome)
            case Released(epoch):
                self._settle(epoch)
            case OutsideCommit():
                self.system.pubsub.publish(TOPIC, StoreChanged())
                self._look()
            case Rejoin(again):
                self._rejoin(again)
            case Joined(outcome):
                self._joined(outcome)

    def terminate(self, reason: object) -> None:
        """Listen no more."""
        if not self._database.private:
            self._take_back()
            for timer in self._timers.values():
                timer.cancel()

    def _begin(self) -> None:
        self._beat()
        self._look()

    # -- heartbeats

    def _beat(self) -> None:
        self._later(nodes.HEARTBEAT, Heartbeat())
        boot, database, real = self._membership.boot, self._database, self._real

        def beat(connection: Connection) -> datetime:
            now = connection.now() if database.shared else real.now()
            if not nodes.beat(connection, boot=boot, now=now):
                raise StaleState(f"node {boot} has ended", node_lost=boot)
            return now

        self._ask(database.write, beat, Beaten)

    def _beaten(self, outcome: Outcome[datetime]) -> None:
        if outcome.error is not None:
            self._steady = 0
            self._failed("this node's heartbeat was not written", outcome.error)
            return
        now, before = outcome.unwrap(), self._heard
        late = before is None or (now - before).total_seconds() > 2 * nodes.HEARTBEAT
        self._heard, self._steady = now, 0 if late else self._steady + 1

    # -- the other nodes

    def _look(self) -> None:
        membership = self._membership
        if not membership.shared or membership.lost is not None:
            return
        self._later(nodes.HEARTBEAT / LOOKS, Look())
        known = membership.cluster
        self._ask(
            self._database.read_later,
            lambda connection: (nodes.cluster_of(connection, known), connection.now()),
            Seen,
        )

    def _seen(self, outcome: Outcome[tuple[Cluster, datetime]]) -> None:
        if outcome.error is not None:
            self._failed("the other nodes can't be seen", outcome.error)
            return
        membership, (cluster, now) = self._membership, outcome.unwrap()
        if membership.lost is not None or cluster.epoch < membership.cluster.epoch:
            return
        own = cluster.node(membership.boot)
        if own is None:
            self._lose("its row has ended")
        elif membership.take(cluster) or own.settled < cluster.epoch:
            self._tell_of_duties()
        self._bury(nodes.suspects(cluster, membership.boot, now))
        self._offer()

    def _tell_of_duties(self) -> None:
        """Let the services begin and stop; where none has to stop anything, say at once that all is as it should be."""
        self.system.pubsub.publish(NODES, DutiesChanged())
        if not self._membership.releases:
            self._settle(self._membership.cluster.epoch)

    def _settle(self, epoch: int) -> None:
        own = self._membership.cluster.node(self._membership.boot)
        if own is not None and own.settled < epoch:
            boot = self._membership.boot
            self._ask(
                self._database.write,
                lambda connection: nodes.settle(connection, boot=boot, epoch=epoch),
                lambda outcome: Look(),
            )

    def _bury(self, suspects: tuple[Node, ...]) -> None:
        boot, steady = self._membership.boot, self._steady >= STEADY
        if suspects:
            self._ask(
                self._database.write,
                lambda connection: nodes.bury(connection, boot=boot, now=connection.now(), steady=steady),
                Buried,
            )

    def _buried(self, outcome: Outcome[tuple[str, ...]]) -> None:
        if outcome.error is not None:
            self._failed("whether another node is dead can't be told", outcome.error)
        elif outcome.unwrap():
            log.warning("taken for dead: %s", ", ".join(f"node {boot}" for boot in outcome.unwrap()))
            self._look()

    def _offer(self) -> None:
        """Say what this node could do, where that has changed; what is refused is said again after the next look."""
        membership, offers = self._membership, self._membership.offers()
        if offers == membership.offered:
            return
        boot, membership.offered = membership.boot, offers

        def then(outcome: Outcome[None]) -> Look:
            if outcome.error is not None:
                membership.offered = None
            return Look()

        self._ask(
            self._database.write, lambda connection: nodes.offer(connection, boot=boot, offers=offers), then
        )

    def _failed(self, what: str, error: BaseException) -> None:
        """Warn; when this node is dead to the others, crash.

        Raises:
            StaleState: it is.
        """
        if isinstance(error, FlowstoneError) and nodes.LOST in error.context:
            self._lose(str(error))
        log.warning("%s: %s", what, error)

    def _lose(self, reason: str) -> None:
        self._membership.lose(reason)
        raise StaleState(f"node {self._membership.boot} has lost its lease: {reason}")

    # -- joining again

    def _rejoin(self, again: bool) -> None:
        membership, database = self._membership, self._database
        if not again:
            membership.renew()
            database.enlist(None)

        def then(outcome: Outcome[Cluster]) -> object:
            if outcome.error is None:
                database.enlist(membership.boot)
            return Joined(outcome)

        self._ask(database.write, lambda connection: join(connection, membership, connection.now()), then)

    def _joined(self, outcome: Outcome[Cluster]) -> None:
        if outcome.error is not None:
            log.warning("this node can't join again: %s", outcome.error)
            self._later(nodes.HEARTBEAT / LOOKS, Rejoin(again=True))
            return
        self._membership.joined(self._real.now())
        self._membership.take(outcome.unwrap())
        self._tell_of_duties()
        self._begin()

    # -- helpers

    def _later(self, delay: float, message: Any) -> None:
        timer = self._timers.pop(type(message), None)
        if timer is not None:
            timer.cancel()
        self._timers[type(message)] = self._real.call_after(delay, lambda: self._tell(message))

    def _ask(
        self, call: Callable[..., Any], transaction: Callable[[Connection], Any], then: Callable[..., Any]
    ) -> None:
        """Ask the store, whose answer comes as a message."""
        call(transaction, lambda outcome: self._tell(then(outcome)))

    def _tell(self, message: Any) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("the store's actor is being restarted, and whoever restarts with it reads the store anyway")
