"""What one runtime knows of itself as a node: its boot, which changes when it has to join anew, and its duties.

Shared by the store's actor, which keeps it up to date, and by the services, which ask it what they may do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from flowstone.state.assignment import Cluster, Node

__all__ = ["Membership"]


def _nothing() -> frozenset[str]:
    return frozenset()


class Membership:
    """One for each runtime; from any thread.

    Where the store is not `shared` with other runtimes, every duty is ours. `offers` gives what this node could do,
    `offered` is what the others know of that;
    `releases` says whether somebody has to stop what is taken away, and calls `released` then. `lost` is why this boot
    was taken for dead, until the next one has joined; `joined_again` is when that was, and why.
    """

    def __init__(
        self,
        boot: str,
        *,
        name: str = "",
        shared: bool = False,
        offers: Callable[[], frozenset[str]] = _nothing,
        releases: bool = False,
        fresh_id: Callable[[], str] | None = None,
    ) -> None:
        self.boot = boot
        self.name = name
        self.shared = shared
        self.offers = offers
        self.offered: frozenset[str] | None = None
        self.releases = releases
        self.lost: str | None = None
        self.joined_again: tuple[datetime, str] | None = None
        self.cluster = Cluster()
        self.on_released: Callable[[int], object] = lambda epoch: None
        self.on_stirred: Callable[[], object] = lambda: None
        self._fresh_id = fresh_id
        self._duties: frozenset[str] = frozenset()

    def has(self, duty: str) -> bool:
        """Whether this node is to do something now."""
        return not self.shared or duty in self._duties

    def owner(self, duty: str) -> Node | None:
        """The node that is to do something, where it is known and lives."""
        boot = self.cluster.owners.get(duty)
        return None if boot is None else self.cluster.node(boot)

    def lose(self, reason: str) -> None:
        """This boot is at its end: it has no duties any more."""
        self.lost = self.lost or reason
        self._duties = frozenset()

    def renew(self) -> None:
        """Be another boot, which has not joined yet."""
        if self._fresh_id is not None:
            self.boot = self._fresh_id()
        self.cluster = Cluster()

    def joined(self, at: datetime) -> None:
        """The boot that `renew` gave has joined."""
        if self.lost is not None:
            self.joined_again = (at, self.lost)
            self.lost = None

    def take(self, cluster: Cluster) -> bool:
        """Know the nodes as they are now: what was ours and is another's is to stop, what is ours may begin.

        It may when all nodes have stopped what is another's. Whether anything has changed for us.
        """
        changed = cluster.epoch != self.cluster.epoch
        self.cluster = cluster
        ours = cluster.duties_of(self.boot)
        duties = ours if cluster.settled else ours & self._duties
        changed, self._duties = changed or duties != self._duties, duties
        return changed

    def released(self, epoch: int) -> None:
        """Nothing goes on here any more that was another's in this epoch."""
        self.on_released(epoch)

    def stir(self) -> None:
        """What this node offers has changed."""
        self.on_stirred()
