"""Which node has which duty: a pure function of the nodes that live and of what each of them offers to do.

Every node computes the same answer from the same rows, so nobody has to lead. Polling a sensor is a duty that is spread
over the nodes that know the sensor, by rendezvous hashing: when a node comes or goes, only what it gets or had moves.
Every other duty is that of the oldest node which offers it, so it moves only when that one has ended.

Whoever loses a duty stops first and then says so (`settled`); whoever gets one begins when all nodes have said so. A
node that can't say so any more is taken for dead, and then its word is not waited for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["SCHEDULER", "Cluster", "Node", "deliveries_of", "owners", "polls_of"]

SCHEDULER = "scheduler"
"""The duty of deciding which ticks fire."""

_POLLS = "sensor:"


def polls_of(sensor: str) -> str:
    """The duty of polling a sensor."""
    return _POLLS + sensor


def deliveries_of(sensor: str) -> str:
    """The duty of calling a sensor's `on_trigger`."""
    return f"deliveries:{sensor}"


@dataclass(frozen=True, slots=True)
class Node:
    """A start of a runtime that lives: `boot` is new with each start, `number` tells the older from the younger.

    `session` names its connection to the database; `settled` is the epoch up to which it does nothing that is another
    node's.
    """

    number: int
    boot: str
    name: str
    pid: int
    host: str
    session: str | None
    started_at: datetime
    heartbeat_at: datetime
    settled: int
    offers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes that live, the oldest first; `epoch` rises when one comes, goes, or offers something else."""

    epoch: int = 0
    nodes: tuple[Node, ...] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    """The boot that has each duty that anybody offers."""

    @property
    def settled(self) -> bool:
        """Whether nobody does any more what is another's in this epoch."""
        return all(node.settled >= self.epoch for node in self.nodes)

    def node(self, boot: str) -> Node | None:
        """The node of this boot; None when it does not live."""
        return next((node for node in self.nodes if node.boot == boot), None)

    def duties_of(self, boot: str) -> frozenset[str]:
        """What a node is to do."""
        return frozenset(duty for duty, owner in self.owners.items() if owner == boot)


def owners(nodes: Iterable[Node]) -> dict[str, str]:
    """The boot that each duty falls to.

    >>> from datetime import UTC, datetime
    >>> now = datetime(2025, 1, 15, tzinfo=UTC)
    >>> old = Node(1, "old", "a", 1, "a", None, now, now, 0, frozenset({"scheduler", "sensor:files"}))
    >>> new = Node(2, "new", "b", 2, "b", None, now, now, 0, frozenset({"scheduler", "sensor:orders"}))
    >>> sorted(owners([new, old]).items())
    [('scheduler', 'old'), ('sensor:files', 'old'), ('sensor:orders', 'new')]
    """
    offering: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.number):
        for duty in node.offers:
            offering.setdefault(duty, []).append(node)
    return {duty: _owner(duty, able) for duty, able in offering.items()}


def _owner(duty: str, able: list[Node]) -> str:
    """Of the nodes that offer a duty, the oldest first."""
    if len(able) == 1 or not duty.startswith(_POLLS):
        return able[0].boot
    return max(able, key=lambda node: _weight(duty, node.boot)).boot


def _weight(duty: str, boot: str) -> bytes:
    return hashlib.blake2b(f"{boot} {duty}".encode(), digest_size=8).digest()
