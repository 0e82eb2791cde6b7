"""The store's actor: tells the store that this node lives, and the other actors that somebody else committed.

Events: topic `store` of the pub/sub gets a `StoreChanged` within a second of another process's commit.

Heartbeats are there for other processes, which live in real time: they come in real time whatever clock the actors
have. A store that only this process can see has nobody to tell and nobody to listen to, and is left alone.
"""

import logging
from dataclasses import dataclass

from actors import Actor, ActorDeadError
from flowstone.outcome import Outcome
from flowstone.state.database import Database
from flowstone.state.nodes import Node

__all__ = ["HEARTBEAT", "TOPIC", "Heartbeat", "OutsideCommit", "StoreActor", "StoreChanged"]

log = logging.getLogger(__name__)

HEARTBEAT = 10.0
"""Seconds between two heartbeats."""

TOPIC = "store"


@dataclass(frozen=True, slots=True)
class StoreChanged:
    """Another process has committed to the store: what was read from it may have changed."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Write that this node is alive."""


@dataclass(frozen=True, slots=True)
class OutsideCommit:
    """The watch has found a commit of another process."""


class StoreActor(Actor):
    """One for each runtime; an error of the store is a warning here, and the next heartbeat tries again."""

    def init(self, database: Database, boot: str, node: str) -> None:
        """Write the first heartbeat and start to listen."""
        self._database = database
        self._node = Node(node, boot)
        if database.private:
            return
        self._take_back = database.on_outside_commit(lambda: self._tell(OutsideCommit()))
        self._real = self.system.backend.real
        self._beat()

    def receive(self, message: object) -> None:
        """Serve one message of this module."""
        match message:
            case Heartbeat():
                self._beat()
            case OutsideCommit():
                self.system.pubsub.publish(TOPIC, StoreChanged())

    def terminate(self, reason: object) -> None:
        """Listen no more."""
        if not self._database.private:
            self._take_back()
            self._next.cancel()

    def _beat(self) -> None:
        now = self._real.now()
        self._next = self._real.call_after(HEARTBEAT, lambda: self._tell(Heartbeat()))
        self._database.write(lambda connection: self._node.beat(connection, now), _warn)

    def _tell(self, message: Heartbeat | OutsideCommit) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("the store's actor is being restarted, and whoever restarts with it reads the store anyway")


def _warn(outcome: Outcome[None]) -> None:
    if outcome.error is not None:
        log.warning("this node's heartbeat was not written: %s", outcome.error)
