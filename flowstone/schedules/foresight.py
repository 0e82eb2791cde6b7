"""What the scheduler has decided ahead: the commits of instants that are a few seconds away.

To decide about a schedule and to make its request ready costs 50 µs, which a thousand schedules of one instant would
all be late by. For those that fire often it is done after their last tick, when there is time, and at the instant only
the write is left. A commit that was made ahead is taken only for the state that it was made from, and while a decision
made now would be the same.

Options: `HORIZON`, the seconds that an instant may be away.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity
from flowstone.core.run_key import run_id
from flowstone.errors import FlowstoneError
from flowstone.schedules.due import decide, same_until, wake_at
from flowstone.schedules.preparation import evaluate, is_inline, prepare
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.rules import Rules
from flowstone.schedules.ticks import Commit

__all__ = ["HORIZON", "Foresight"]

HORIZON = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A commit, and the instants between which it is what would be decided."""

    commit: Commit
    since: datetime
    until: datetime


class Foresight:
    """The commits of one scheduler that were made ahead, by schedule."""

    def __init__(self, catalog: Catalog, rules: Rules, identity: Identity) -> None:
        self._catalog = catalog
        self._rules = rules
        self._identity = identity
        self._ahead: dict[str, _Ahead] = {}

    def look(self, row: ScheduleRow, now: datetime) -> None:
        """Decide about the next instant of a schedule, when that is near and nothing but an edit can change it.

        Partition sets may get and lose keys: what is asked of them is asked at the instant.
        """
        self.forget(row.name)
        try:
            at = wake_at(row)
            if not now < at <= now + HORIZON or self._catalog.partition_set(row.target) is not None:
                return
            if not is_inline(row, self._rules):
                return
            decision = decide(row, at)
        except FlowstoneError:
            # The scheduler finds the same at the instant, and says so.
            return
        until = same_until(row, decision)
        if until is None:
            return
        account = decision.accounts[0]
        call = partial(evaluate, self._catalog, row, self._rules, account.first)
        prepared = prepare(self._catalog, row, account, call)
        if prepared.request is not None:
            # Remembered there, and needed for the tick's row and the run's.
            run_id(prepared.request.run_key, namespace=self._identity.namespace, secret=self._identity.secret)
            self._ahead[row.name] = _Ahead(Commit(row, (prepared,), decision.accounted_until), at, until)

    def take(self, row: ScheduleRow, now: datetime) -> Commit | None:
        """The commit that was made ahead from this state of a schedule, when it is what would be decided now."""
        ahead = self._ahead.pop(row.name, None)
        if ahead is None or ahead.commit.schedule is not row or not ahead.since <= now <= ahead.until:
            return None
        return ahead.commit

    def forget(self, name: str) -> None:
        """Drop what was decided about a schedule."""
        self._ahead.pop(name, None)
