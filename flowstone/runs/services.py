"""What the actors of a runtime share: the store, the definitions, the clock, the executors, and each other's refs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors import ActorDeadError, Clock, Future
from actors.pubsub import PubSub
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity
from flowstone.executors.processes import ProcessExecutor
from flowstone.executors.threads import ThreadExecutor
from flowstone.io import IOManager
from flowstone.resources.book import ResourceBook
from flowstone.runs.limits import Limits
from flowstone.runs.messages import Wake
from flowstone.runs.occupancy import Calls
from flowstone.runs.waiters import Waiters
from flowstone.state.database import Database
from flowstone.state.membership import Membership
from flowstone.telemetry import Telemetry

__all__ = ["Services", "fresh_id"]


def fresh_id() -> str:
    """An id that nobody had before."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Handed to each actor of the tree; `directory` holds the refs of the running services by name.

    `executor` runs the functions of assets, `processes` those that ask for a process (without one they run like the
    others), `polls` whatever else the user wrote (polls, rules, callbacks). `membership`
    is this start of this node, and its duties; `fresh_id` gives ids that nobody had before. With more than `max_queue`
    unfinished runs, sensors poll no more by themselves. A wall clock that was set is noticed after `longest_timer`
    seconds.
    """

    database: Database
    catalog: Catalog
    clock: Clock
    executor: ThreadExecutor
    polls: ThreadExecutor
    pubsub: PubSub
    future: Callable[[], Future[Any]]
    io: Mapping[str, IOManager]
    default_io: str
    membership: Membership
    identity: Identity = Identity()
    fresh_id: Callable[[], str] = fresh_id
    max_concurrency: int = 32
    max_queue: int = 10_000
    limits: Limits = field(default_factory=Limits)
    longest_timer: float = 60.0
    processes: ProcessExecutor | None = None
    resources: ResourceBook = field(default_factory=ResourceBook)
    telemetry: Telemetry = field(default_factory=Telemetry)
    calls: Calls = field(default_factory=Calls)
    waiters: Waiters = field(default_factory=Waiters)
    directory: dict[str, Any] = field(default_factory=dict)

    @property
    def boot(self) -> str:
        """The name of this start of this node."""
        return self.membership.boot

    def wake(self) -> None:
        """Tell the dispatcher that runs were committed. One that is being restarted looks by itself."""
        dispatcher = self.directory.get("dispatcher")
        if dispatcher is not None:
            try:
                dispatcher.tell(Wake())
            except ActorDeadError:
                return
