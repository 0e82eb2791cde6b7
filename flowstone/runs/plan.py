"""The plan of a run: from the states of its assets, what starts now, what is skipped, and when it is over. Pure.

A run holds one row for each asset of its selection. Dependencies outside the selection do not count here: their stored
values are read when the asset starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def plan(dependencies: Mapping[str, Iterable[str]], states: Mapping[str, AssetState], now: datetime) -> Plan:
    """What of a run comes next. `dependencies` names the pending assets, in graph order, `states` has all.

    >>> from datetime import UTC
    >>> pending = AssetState(MaterializationStatus.PENDING)
    >>> plan({"a": [], "b": ["a"]}, {"a": pending, "b": pending}, datetime(2025, 1, 1, tzinfo=UTC)).start
    ('a',)
    """
    after = dict(states)
    skip: list[tuple[str, str]] = []
    start: list[str] = []
    for asset, needs in dependencies.items():
        if after[asset].status is not MaterializationStatus.PENDING:
            continue
        inside = [need for need in needs if need in after]
        blocked_by = next((n for n in inside if after[n].status in _BLOCKING and not after[n].gives_value), None)
        if blocked_by is not None:
            skip.append((asset, blocked_by))
            after[asset] = AssetState(MaterializationStatus.SKIPPED)
        elif all(after[n].gives_value for n in inside) and _is_due(after[asset], now):
            start.append(asset)
    later = [state.ready_at for state in after.values() if state.ready_at is not None and state.ready_at > now]
    return Plan(tuple(start), tuple(skip), _finished(after), min(later, default=None))


def _is_due(state: AssetState, now: datetime) -> bool:
    return not state.held and (state.ready_at is None or state.ready_at <= now)


def _finished(states: Mapping[str, AssetState]) -> RunStatus | None:
    statuses = {state.status for state in states.values()}
    if not statuses <= FINISHED_MATERIALIZATIONS:
        return None
    if MaterializationStatus.FAILED in statuses:
        return RunStatus.FAILED
    return RunStatus.CANCELLED if MaterializationStatus.CANCELLED in statuses else RunStatus.SUCCESS
