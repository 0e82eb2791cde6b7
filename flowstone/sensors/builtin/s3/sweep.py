"""The cursor of a listing whose keys come in any order; pure.

A listing can't be asked for what is new, so each sweep goes through all keys, and the cursor holds what is needed to
tell what arrived since, bounded however many keys there are:

- `mark`: the newest instant seen. An object may become visible with an older one (a multipart upload bears the time at
  which it began), so a sweep looks at all that is not older than the mark less the lookback: the window.
- `print`: a fingerprint of the window as the last sweep left it. While it stays, nothing arrived.
- `recent`: the newest objects one by one, so that a poll without a store repeats nothing either, and so that one which
  left and came back within its instant is seen to have come back (`back` counts how often).
- `sweep`: how far a sweep came that was cut short, and what it had gathered.

Where the print differs, the objects of the window are those that arrived, less those whose arrival was committed. A
set of objects is told apart by the sum of their digests for each part of the window, so that the fingerprint can be
taken when it is known at last where the next window begins.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from flowstone.sensors.builtin.s3.objects import Found, short

__all__ = ["EXACT", "Sweep", "first_state"]

EXACT = 200
"""Objects that the cursor names one by one; 12 characters each."""

_PARTS = 24
_MOST_PARTS = 4 * _PARTS
_MOST_BACK = 50
_MOST_LEVEL = 500
_SUM = 1 << 128


def first_state(of: str) -> dict[str, Any]:
    """The state before the first sweep of what `of` names."""
    return {"of": of, "mark": None, "print": None, "recent": [], "back": {}, "ignore": None, "sweep": None}


class Sweep:
    """One pass over the keys, which may take several polls; fed with objects in the order of their keys."""

    def __init__(self, state: Mapping[str, Any], lookback: float) -> None:
        self._state = state
        self._part = max(lookback / _PARTS, 1.0)
        self._lookback = lookback
        self._recent = frozenset(state["recent"])
        self._back: dict[str, int] = dict(state["back"])
        going_on = state["sweep"]
        carried = going_on or {"after": "", "top": None, "sums": {}, "newest": []}
        self.whole = going_on is None
        self.after: str = carried["after"]
        self._top: float | None = carried["top"]
        self._sums = {int(part): int(total, 16) for part, total in carried["sums"].items()}
        self._newest: list[tuple[float, str]] = [(at, name) for at, name in carried["newest"]]
        heapq.heapify(self._newest)
        self._met: set[str] = set()
        self._level: list[str] = []
        self._floor = None if state["mark"] is None else self._floor_of(state["mark"])

    def in_window(self, at: float) -> bool:
        """Whether an object of this instant may have arrived since the last sweep."""
        return self._floor is None or at >= self._floor

    def is_ignored(self, found: Found) -> bool:
        """Whether it was there at the start, and shall count as seen."""
        ignore = self._state["ignore"]
        if ignore is None:
            return False
        if ignore["until"] is None:
            return short(found.identity) in self._recent
        if found.at == ignore["until"] and ignore["at"] is not None:
            return short(found.identity) in ignore["at"]
        return bool(found.at <= ignore["until"])

    def meet(self, found: Found) -> tuple[str, bool]:
        """Take an object of the window in: how often it came back, as text, and whether it is a recent one."""
        name = short(found.identity)
        if name in self._recent:
            self._met.add(name)
        count = self._back.get(name, 0)
        version = f"{count}" if count else ""
        part = int(found.at // self._part)
        digest = hashlib.sha256(f"{version}/{found.identity}".encode("utf-8", "backslashreplace")).digest()
        self._sums[part] = (self._sums.get(part, 0) + int.from_bytes(digest[:16], "big")) % _SUM
        if self._top is None or found.at > self._top:
            self._top, self._level = found.at, []
            self._drop_old_parts()
        if found.at == self._top and len(self._level) < _MOST_LEVEL:
            self._level.append(name)
        push = heapq.heappush if len(self._newest) < EXACT else heapq.heappushpop
        push(self._newest, (found.at, name))
        return version, name in self._recent

    def is_as_before(self) -> bool:
        """Whether the window holds what the last sweep left in it."""
        return self._state["print"] is not None and self._state["print"] == self._print(self._floor)

    def cut(self, after: str) -> dict[str, Any]:
        """The state from which a later poll goes on past the key `after`."""
        carried = {
            "after": after,
            "top": self._top,
            "sums": {str(part): f"{total:x}" for part, total in self._sums.items()},
            "newest": [[at, name] for at, name in sorted(self._newest)],
        }
        return {**self._state, "sweep": carried}

    def end(self, now: float, *, watches: bool) -> dict[str, Any]:
        """The state after the last key; `now` is the service's time, `watches` lets it look for what left."""
        mark: float | None = self._state["mark"]
        top = None if self._top is None else min(self._top, now)
        mark = max((at for at in (mark, top) if at is not None), default=None)
        floor = None if mark is None else self._floor_of(mark)
        recent = [name for at, name in sorted(self._newest) if floor is None or at >= floor]
        return {
            **self._state,
            "mark": mark,
            "print": self._print(floor),
            "recent": recent,
            "back": self._gone(recent) if watches and self.whole else self._back,
            "ignore": None,
            "sweep": None,
        }

    def ignoring(self, now: float) -> dict[str, Any]:
        """The state after a sweep all of which counts as seen, to be told to the store by the next one."""
        state = self.end(now, watches=False)
        # The recent ones are all of the window where the heap of the newest was not full, or begins before it.
        exact = len(self._newest) < EXACT or self._newest[0][0] < self._floor_of(state["mark"])
        if exact:
            return {**state, "print": None, "ignore": {"until": None, "at": None}}
        # More objects of the newest instant than can be named: all of that instant count as seen.
        at = self._level if len(self._level) < _MOST_LEVEL else None
        return {**state, "print": None, "ignore": {"until": self._top, "at": at}}

    def _floor_of(self, mark: float) -> float:
        return (mark - self._lookback) // self._part * self._part

    def _print(self, floor: float | None) -> str:
        first = None if floor is None else int(floor // self._part)
        kept = sorted((part, total) for part, total in self._sums.items() if first is None or part >= first)
        return hashlib.sha256(repr(kept).encode()).hexdigest()[:32]

    def _drop_old_parts(self) -> None:
        # The mark will not be past the top, but may stay behind it: the parts that the next window may hold are kept.
        if len(self._sums) > _MOST_PARTS and self._top is not None:
            least = int(self._floor_of(self._top) // self._part)
            self._sums = {part: total for part, total in self._sums.items() if part >= least}

    def _gone(self, recent: Iterable[str]) -> dict[str, int]:
        """How often each came back: those that were there and are not will have, when they are met again."""
        gone = {name: self._back.get(name, 0) + 1 for name in self._recent - self._met}
        kept = {**self._back, **gone}
        return dict(list(kept.items())[-_MOST_BACK:])
