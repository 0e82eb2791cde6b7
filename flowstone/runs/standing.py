"""Where the assets of a run stand, kept from step to step by whoever holds the run. Pure.

While a lease holds, others change only what waits for them: an asset that people decide about, or one whose earlier
call goes on. So a step reads those again, and the attempts that have ended; the rest is as its last commit left it,
and a step costs what it changes, however many assets the run has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from flowstone.core.graph import Graph
from flowstone.core.run import FINISHED_MATERIALIZATIONS, MaterializationStatus
from flowstone.runs.plan import AssetState
from flowstone.state.connection import Row
from flowstone.state.fields import instant

__all__ = ["ALREADY", "MOST_READ", "Standing"]

ALREADY = "already materialized"

MOST_READ = 16
"""Rows that are read again one by one; for more, a step reads the whole run."""

_PLAIN = {status.value: AssetState(status) for status in MaterializationStatus}
_ALREADY = AssetState(MaterializationStatus.SKIPPED, satisfied=True)


@dataclass(slots=True)
class Standing:
    """The rows of a run's assets as they were read, in graph order, and their states as they are now.

    `live` names those that a step may change: what executes, waits for people, for an instant or a slot, and what has
    become possible. All others are finished, or wait for one of these. `errors` are those of the assets that failed.
    """

    rows: dict[str, Row]
    states: dict[str, AssetState]
    live: set[str]
    errors: dict[str, str]

    @classmethod
    def read(cls, rows: Iterable[Row], boot: str) -> Self:
        """A run of which all rows were read."""
        # By key, which costs a fifth of an attribute: a run of many assets reads all of them.
        found = {row["asset"]: row for row in rows}
        states = {asset: _state(row, boot) for asset, row in found.items()}
        live = {asset for asset, state in states.items() if state.status not in FINISHED_MATERIALIZATIONS}
        return cls(found, states, live, _errors(found.values()))

    def read_again(self, rows: Iterable[Row], boot: str, graph: Graph) -> Standing:
        """The same run, of which some rows were read again; this one stays as it is."""
        found = [*rows]
        read = Standing({**self.rows}, {**self.states}, {*self.live}, self.errors | _errors(found))
        for row in found:
            asset, state = row["asset"], _state(row, boot)
            read.rows[asset] = row
            if state != self.states[asset]:
                read.put(asset, state, graph)
        return read

    @property
    def error(self) -> str | None:
        """That of the first asset, in graph order, that failed."""
        return self.errors[min(self.errors, key=self._place)] if self.errors else None

    def put(self, asset: str, state: AssetState, graph: Graph) -> None:
        """The state of an asset is another one; what depends on one that is finished may be possible now."""
        self.states[asset] = state
        if state.status not in FINISHED_MATERIALIZATIONS:
            self.live.add(asset)
            return
        self.live.discard(asset)
        self.live.update(self._waiting_for(asset, graph))

    def reach(self, assets: Iterable[str], graph: Graph) -> None:
        """A step decides about all that waits for one of these, however far from it."""
        found, waiting = set[str](), [*assets]
        while waiting:
            following = [name for name in self._waiting_for(waiting.pop(), graph) if name not in found]
            found.update(following)
            waiting += following
        self.live |= found

    def settled(self, possible: Iterable[str]) -> Standing:
        """For the next step: of what is pending only these stay live, and what waits for an instant or a call."""
        stay = {*possible}
        pending = (asset for asset in self.live if self._is(asset, MaterializationStatus.PENDING))
        gone = {asset for asset in pending if asset not in stay and self.states[asset] == _PLAIN["pending"]}
        return Standing(self.rows, self.states, self.live - gone, self.errors)

    def to_read(self, ended: Iterable[str]) -> tuple[str, ...]:
        """What has to be read again for a step that settles these; nothing when the whole run has to be."""
        names = {*ended, *(asset for asset in self.live if not self._is(asset, MaterializationStatus.RUNNING))}
        return tuple(sorted(names)) if len(names) <= MOST_READ else ()

    def live_with(self, status: MaterializationStatus) -> list[str]:
        """The live assets that have this status, in graph order."""
        found = (asset for asset in self.live if self.states[asset].status is status)
        return sorted(found, key=self._place)

    def _place(self, asset: str) -> int:
        place: int = self.rows[asset]["id"]
        return place

    def _waiting_for(self, asset: str, graph: Graph) -> list[str]:
        dependents = graph.dependents(asset) if asset in graph else ()
        return [name for name in dependents if self._is(name, MaterializationStatus.PENDING)]

    def _is(self, asset: str, status: MaterializationStatus) -> bool:
        return asset in self.states and self.states[asset].status is status


def _errors(rows: Iterable[Row]) -> dict[str, str]:
    return {row["asset"]: row["error"] for row in rows if row["status"] == "failed"}


def _state(row: Row, boot: str) -> AssetState:
    status, ready_at, busy = row["status"], row["ready_at"], row["busy"]
    if ready_at is None and busy is None:
        return _ALREADY if status == "skipped" and row["reason"] == ALREADY else _PLAIN[status]
    satisfied = status == MaterializationStatus.SKIPPED and row["reason"] == ALREADY
    return AssetState(MaterializationStatus(status), instant(ready_at), satisfied, held=busy == boot)
