"""The plan of a run: from the states of its assets, what starts now, what is skipped, and when it is over. Pure.

A run holds one row for each asset of its selection. Dependencies outside the selection do not count here: their stored
values are read when the asset starts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from flowstone.core.run import FINISHED_MATERIALIZATIONS, MaterializationStatus, RunStatus

__all__ = ["AssetState", "Plan", "plan"]

_BLOCKING = frozenset(
    {MaterializationStatus.FAILED, MaterializationStatus.SKIPPED, MaterializationStatus.CANCELLED},
)


@dataclass(frozen=True, slots=True)
class AssetState:
    """Where one asset of a run stands; a pending one may have to wait until `ready_at`.

    `satisfied` marks a skipped one whose value exists all the same (`already materialized`), so that others may use it.
    A pending one that is `held` waits for its own earlier call, which outlived its attempt.
    """

    status: MaterializationStatus
    ready_at: datetime | None = None
    satisfied: bool = False
    held: bool = False

    @property
    def gives_value(self) -> bool:
        """Whether those that depend on it find a value."""
        return self.status is MaterializationStatus.SUCCESS or self.satisfied


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next: start these, skip these (with the one that stands in the way), or wait, or end.

    `finished` is the run's last status once all of its assets are finished; `wait_until` the instant of the next
    repeated attempt, when there is one.
    """

    start: tuple[str, ...] = ()
    skip: tuple[tuple[str, str], ...] = ()
    finished: RunStatus | None = None
    wait_until: datetime | None = None


def plan(dependencies: Mapping[str, Iterable[str]], states: dict[str, AssetState], now: datetime) -> Plan:
    """What of a run comes next. `dependencies` has the pending assets to decide about, in graph order, `states` all.

    >>> from datetime import UTC
    >>> pending = AssetState(MaterializationStatus.PENDING)
    >>> plan({"a": [], "b": ["a"]}, {"a": pending, "b": pending}, datetime(2025, 1, 1, tzinfo=UTC)).start
    ('a',)
    """
    skip: dict[str, str] = {}
    start: list[str] = []
    for asset, needs in dependencies.items():
        if states[asset].status is not MaterializationStatus.PENDING:
            continue
        inside = [need for need in needs if need in states]
        blocked_by = next((need for need in inside if need in skip or _blocks(states[need])), None)
        if blocked_by is not None:
            skip[asset] = blocked_by
        elif all(states[need].gives_value for need in inside) and _is_due(states[asset], now):
            start.append(asset)
    instants = (states[asset].ready_at for asset in dependencies if asset not in skip)
    later = min((at for at in instants if at is not None and at > now), default=None)
    return Plan(tuple(start), tuple(skip.items()), _finished(states, skip), later)


def _blocks(state: AssetState) -> bool:
    return state.status in _BLOCKING and not state.gives_value


def _is_due(state: AssetState, now: datetime) -> bool:
    return not state.held and (state.ready_at is None or state.ready_at <= now)


def _finished(states: dict[str, AssetState], skip: Collection[str]) -> RunStatus | None:
    # What is not finished stands at the end of the graph more often than at its beginning.
    for asset in reversed(states):
        if states[asset].status not in FINISHED_MATERIALIZATIONS and asset not in skip:
            return None
    statuses = {state.status for state in states.values()}
    if MaterializationStatus.FAILED in statuses:
        return RunStatus.FAILED
    return RunStatus.CANCELLED if MaterializationStatus.CANCELLED in statuses else RunStatus.SUCCESS
