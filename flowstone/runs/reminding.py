"""Reminders: runs in progress in this process are told to look at their rows again."""

from __future__ import annotations

from contextlib import suppress

from actors import ActorDeadError, ChildNotFound, DynamicSupervisorRef
from flowstone.runs.messages import Due, Look, SlotsFreed
from flowstone.runs.services import Services

__all__ = ["SLOTS", "look_at_deadlines", "remind", "tell_of_slots"]

SLOTS = "slots"
"""The topic on which runs in progress hear of slots that others gave back."""


def remind(services: Services, run_id: str) -> None:
    """Let a run look again, if it is in progress here: something that it waited for may have happened."""
    materializers: DynamicSupervisorRef | None = services.directory.get("materializers")
    if materializers is not None:
        with suppress(ActorDeadError, ChildNotFound):
            materializers.child(run_id).tell(Due())


def look_at_deadlines(services: Services) -> None:
    """Let the deadlines of approvals be looked at again: there may be a new one."""
    deadlines = services.directory.get("deadlines")
    if deadlines is not None:
        with suppress(ActorDeadError):
            deadlines.tell(Look())


def tell_of_slots(services: Services) -> None:
    """Let runs that wait for slots look again, those in progress and those that are queued."""
    services.pubsub.publish(SLOTS, SlotsFreed())
    services.wake()
