"""Pruning by the runtime itself: old history goes once a day, in small batches, while everything else goes on.

What may go is said by the rooms (`state.retention`). The actor only keeps the time: the batches are made on the
executor, one short transaction after another, and what fails is a warning here and is tried again the next day. A
store that nobody keeps is not pruned. Of several nodes each does it, which is harmless: the second finds nothing left.

Options: `retention` of the runtime (seconds; a year by default), `FIRST` and `EVERY` (seconds).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors import Actor, ActorDeadError
from flowstone import durations
from flowstone.connectors.retention import EVENT_ATTEMPTS, EVENTS
from flowstone.errors import RuntimeStopped, ValidationError
from flowstone.io import IOManager
from flowstone.outcome import Outcome
from flowstone.runs.retention import CONFLICTS, FinishedRuns
from flowstone.runs.services import Services
from flowstone.schedules.retention import TICKS
from flowstone.sensors.retention import DELIVERIES, EVALUATIONS
from flowstone.state.retention import SHORTEST, Age, History, prune

__all__ = ["EVERY", "FIRST", "LONGEST", "Pruner", "checked_retention", "histories_of"]

log = logging.getLogger(__name__)

FIRST = 600.0
"""Seconds from the start to the first pruning, so that it is not in the way of what a start has to do."""

EVERY = 86_400.0
"""Seconds from a pruning to the next one."""

LONGEST = 3600.0
"""Seconds after which a pruning is given up, as when an IO manager hangs while it deletes a value."""


@dataclass(frozen=True, slots=True)
class Prune:
    """It is time."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows went, by kind, or why it failed."""

    outcome: Outcome[dict[str, int]]


def checked_retention(value: object) -> float:
    """The seconds that history is kept; infinity for `forever`.

    Raises:
        ValidationError: it is no duration, or shorter than an hour.

    >>> checked_retention("2h")
    7200.0
    """
    if value in ("forever", math.inf):
        return math.inf
    keep = durations.seconds(value, "retention")
    if keep < SHORTEST:
        raise ValidationError(f"expected retention to be an hour at least, got: {durations.text(keep)}")
    return keep


def histories_of(io: Mapping[str, IOManager]) -> tuple[History, ...]:
    """All that is pruned, in order; `io` are the IO managers that delete the values of runs that go."""
    return (TICKS, EVALUATIONS, DELIVERIES, CONFLICTS, EVENTS, EVENT_ATTEMPTS, FinishedRuns(io))


class Pruner(Actor):
    """One for each runtime whose store is kept and whose history is not kept for ever."""

    def init(self, services: Services, keep: float) -> None:
        """Prune what is older than `keep` seconds, first in a while."""
        self._services = services
        self._keep = keep
        self.send_after(FIRST, Prune())

    def receive(self, message: Any) -> Any:
        """Serve one message of this module."""
        match message:
            case Prune():
                self._prune()
            case Pruned(outcome):
                self._pruned(outcome)
            case _:
                return super().receive(message)
        return None

    def _prune(self) -> None:
        services, keep, now = self._services, self._keep, self.clock.now()

        def work() -> dict[str, int]:
            return prune(services.database, histories_of(services.io), Age.of(services.database, now, keep))

        services.polls.submit(work, timeout=LONGEST, name="pruning", then=self._post)

    def _pruned(self, outcome: Outcome[dict[str, int]]) -> None:
        self.send_after(EVERY, Prune())
        if outcome.timed_out:
            log.warning("pruning has not ended in %g s, and is given up until tomorrow", LONGEST)
        elif outcome.error is not None:
            log.warning("history can't be pruned: %s", outcome.error)
        elif sum(outcome.unwrap().values()):
            log.info("pruned: %s", ", ".join(f"{count} {what}" for what, count in outcome.unwrap().items() if count))

    def _post(self, outcome: Outcome[dict[str, int]]) -> None:
        if isinstance(outcome.error, RuntimeStopped):
            return
        try:
            self.ref.tell(Pruned(outcome))
        except ActorDeadError:
            log.debug("a pruning ended after its actor")
