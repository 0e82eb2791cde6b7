"""What one poll gathers from a sweep: the objects that arrived, less those whose arrival was committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flowstone.sensors.builtin.s3.objects import Found
from flowstone.sensors.builtin.s3.sweep import Sweep
from flowstone.sensors.sensor import Answer, Arrival, NoTrigger, Trigger
from flowstone.sensors.surroundings import ALONE, Surroundings

__all__ = ["Gathering", "answer"]


def answer(arrivals: list[Arrival], state: Any, *, seen: list[str] | None = None, again: bool = False) -> Answer:
    """The answer that holds these arrivals, or that there are none."""
    known = tuple(seen or ())
    if arrivals:
        return Trigger(*arrivals, state=state, seen=known, again=again)
    return NoTrigger(state=state, seen=known, again=again)


class Gathering:
    """Fed with the objects of the window; asks what was committed only for as many as one poll may answer."""

    def __init__(self, sweep: Sweep, surroundings: Surroundings) -> None:
        self._sweep = sweep
        self._surroundings = surroundings
        self._met: list[Found] = []
        self._sure = 0
        self._seen: list[str] = []

    def is_full(self, limit: int) -> bool:
        """Whether a poll that answers so many has gathered enough."""
        if len(self._met) + len(self._seen) < limit:
            return False
        self._make_sure()
        return len(self._met) + len(self._seen) >= limit

    def take(self, found: Found, *, young: bool) -> None:
        """An object of the window; one that is too young is left for a later sweep."""
        if self._sweep.is_ignored(found):
            self._sweep.meet(found)
            self._seen.append(found.identity)
        elif not young:
            version, recent = self._sweep.meet(found)
            # The cursor's own memory serves who has no store; the store's own is refreshed by being asked.
            if not (recent and self._surroundings is ALONE):
                self._met.append(replace(found, version=version) if version else found)

    def answer(
        self,
        arrived: Callable[[Found], Arrival],
        state: dict[str, Any],
        *,
        as_before: bool = False,
        again: bool = False,
    ) -> Answer:
        """The answer that leaves `state`; a window that is as before holds nothing new."""
        if as_before and not self._seen:
            return NoTrigger(state=state)
        self._make_sure()
        return answer([arrived(found) for found in self._met], state, seen=self._seen, again=again)

    def _make_sure(self) -> None:
        """Drop those of the objects not asked for yet whose arrival was committed."""
        sure, asked = self._met[:self._sure], self._met[self._sure:]
        known = self._surroundings.known(found.identity for found in asked)
        self._met = sure + [found for found in asked if found.identity not in known]
        self._sure = len(self._met)
