"""The supervisor of all resources: a keeper each, with a restart budget of its own; set-ups in order.

A keeper that crashes more often than its budget allows is given up for a while, and its resource is down unless it was
up. No other resource notices. Registers as `resources` in the directory.
"""

from __future__ import annotations

import logging
from typing import Any

from actors import ActorDeadError, ChildNotFound, ChildSpec, DynamicSupervisor, Quarantine
from flowstone.resources.keeper import CAP, Keeper, SetUp, Surroundings, Tried

__all__ = ["BUDGET", "ResourceSupervisor"]

log = logging.getLogger(__name__)

BUDGET = Quarantine(max_restarts=3, max_seconds=5.0, retry_after=CAP)
"""How often one keeper may crash before it is given up, for how long, in seconds."""


class ResourceSupervisor(DynamicSupervisor):
    """One for each runtime that has resources."""

    def init(self, around: Surroundings) -> None:  # type: ignore[override]  # the options are settled
        """Start a keeper for each resource, and let the first one begin."""
        self._around = around
        around.directory["resources"] = self.ref
        around.book.on_restore = self._begin
        children = [ChildSpec(Keeper, id=name, args=(around, name)) for name in around.book.kept]
        super().init(children, quarantine=BUDGET)
        self._next()

    def handle(self, message: Any) -> Any:
        """Let the next resource begin when one has been tried."""
        if isinstance(message, Tried):
            self._next()
            return None
        return super().handle(message)

    def terminate(self, reason: Any) -> None:
        """Stop the keepers; the handles belong to the runtime."""
        self._around.book.on_restore = None
        super().terminate(reason)

    def child_parked(self, id: str, reason: Any) -> None:
        """A keeper used up its budget."""
        log.error("resource %s is broken: its actor crashed too often, the last time on %r", id, reason)
        self._around.book.mark(id, broken=True)
        self._next()

    def child_restarted(self, id: str, reason: Any) -> None:
        """A keeper is up again; its turn may have been lost."""
        self._around.book.mark(id, broken=False)
        self._next()

    def _next(self) -> None:
        """Let the first resource that was not tried yet be set up."""
        book = self._around.book
        waiting = next((name for name in book.kept if not book.entry(name).tried.done), None)
        if waiting is not None:
            self._begin(waiting)

    def _begin(self, name: str) -> None:
        slot = self.slots.get(name)
        if slot is not None:
            try:
                slot.ref.tell(SetUp())
            except (ActorDeadError, ChildNotFound):
                log.debug("resource %s has no actor at present", name)
