"""What of the runs may be pruned, and what goes with them: the rows of their assets, their values, their keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowstone.io import IOManager, StoredValue
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.fields import json_value
from flowstone.state.retention import Age, Rows, Step, rows_between

__all__ = ["CONFLICTS", "FinishedRuns"]

log = logging.getLogger(__name__)

CONFLICTS = Rows(what="conflicts", table="run_conflict", moment="at", spare="false")
"""Requests that were refused since their run key meant something else."""

# The newest success of an asset says where its value is; what waits to be coalesced looks at who overtook it.
_NEEDED_ASSET = """
    select 1 from materialization m where m.run_id = t.run_id and (
        m.busy is not null
        or t.run_id = (
            select e.run_id from asset_event e where e.asset = m.asset and e.partition = m.partition
            order by e.id desc limit 1
        )
        or exists (
            select 1 from materialization w where w.asset = m.asset and w.partition = m.partition
            and w.status = 'pending' and w.overtaken_by = t.run_id
        )
    )
"""
# A key that is used once needs nobody's memory. A user's own key may be asked for by any source, others by their own.
_ONCE = """(
    t.run_key like 'manual:________-____-____-____-____________' or t.run_key like 'retry:run^_%' escape '^'
    or t.run_key like 'sched:%:manual:%' or t.run_key like 'sensor:%:eval^_%' escape '^'
)"""
_SCOPE = """
    select 1 from (
        select name, dedupe, 'schedule' as kind from schedule union all select name, dedupe, 'sensor' from sensor
    ) as scope where (
        scope.kind = t.source_kind and scope.name = t.source_name
        or t.run_key not like 'sched:%' and t.run_key not like 'sensor:%'
    ) and (
        scope.dedupe = 'until_success' and t.status <> 'failed'
        or scope.dedupe like 'window:%' and t.requested_at >= :windows
    )
"""
_SPARE = f"exists ({_NEEDED_ASSET}) or not {_ONCE} and exists ({_SCOPE})"
_OLD = "t.completed_at < :before and t.status in ('success', 'failed', 'cancelled')"
_CANDIDATES = f"select run_id from run t where t.id > :after and t.id <= :last and {_OLD} and not ({_SPARE})"
_VALUES = f"""
    select m.run_id, m.stored, (
        select n.stored from asset_event e join materialization n on n.run_id = e.run_id and n.asset = e.asset
        where e.asset = m.asset and e.partition = m.partition order by e.id desc limit 1
    ) as newest
    from materialization m where m.stored is not null and m.run_id in ({_CANDIDATES})
"""
_FORGET_KEY = f"delete from run_key where run_id in (select run_id from run t where t.run_id = :run_id and {_ONCE})"


@dataclass(frozen=True, slots=True)
class FinishedRuns:
    """Finished runs, except those that hold the newest value of an asset, and those that a dedupe scope still asks for.

    The values of runs that go are deleted first, by the IO managers of `io`, so that none is left that no row names; a
    run with a value of another manager, or one that can't be deleted, stays. A place that holds the newest value too,
    as a stable one does, stays with it, whether or not the value has changed since. Keys that may be asked for again
    stay too, and so does what they stand for: the run's id.
    """

    io: Mapping[str, IOManager]
    what: str = "runs"

    def aged(self, connection: Connection, age: Age) -> int:
        """How many finished runs are old."""
        return int(connection.execute(f"select count(*) as n from run t where {_OLD}", before=age.before)[0].n)

    def prunable(self, connection: Connection, age: Age) -> int:
        """How many of them may go."""
        sql = f"select max(id) as last from run t where {_OLD}"
        last = connection.execute(sql, before=age.before)[0].last or 0
        return len(self._going(connection, {**age.parameters, "after": 0, "last": last})[0])

    def prune(self, database: Database, age: Age, after: int, limit: int) -> Step:
        """Look at the next old runs, and remove those that may go, with all that is theirs."""
        looked, last = rows_between(database, "run", "completed_at", age.before, after, limit)
        if last is None:
            return Step(None)
        span = {**age.parameters, "after": after, "last": last}
        going, values = database.read(lambda connection: self._going(connection, span))
        going -= {run_id for run_id, value in values if not self._deleted(value)}
        return Step(last, looked, database.transact(lambda connection: _remove(connection, going, span)))

    def _deleted(self, value: StoredValue) -> bool:
        try:
            self.io[value.manager].delete(value)
        except Exception as error:
            # One that lasts would else keep all that is younger too.
            log.warning("the value at %s of IO manager %s can't be deleted: %s", value.location, value.manager, error)
            return False
        return True

    def _going(self, connection: Connection, span: dict[str, Any]) -> tuple[set[str], list[tuple[str, StoredValue]]]:
        """The ids of the runs of a span that may go, and their values."""
        candidates = {row.run_id for row in connection.execute(_CANDIDATES, span)}
        rows = [(row.run_id, _value(row.stored), _value(row.newest)) for row in connection.execute(_VALUES, span)]
        foreign = {run_id for run_id, value, _ in rows if value.manager not in self.io}
        # By location alone: a manager may have got another name since, and still have the same places.
        superseded = [(run_id, value) for run_id, value, newest in rows if value.location != newest.location]
        return candidates - foreign, [(run_id, value) for run_id, value in superseded if run_id not in foreign]


def _value(stored: str) -> StoredValue:
    return StoredValue(**json_value(stored))


def _remove(connection: Connection, going: set[str], span: dict[str, Any]) -> int:
    """Remove runs, those that came to be needed in the meantime excepted; how many."""
    still = [{"run_id": row.run_id} for row in connection.execute(_CANDIDATES, span) if row.run_id in going]
    connection.executemany(_FORGET_KEY, still)
    connection.executemany("delete from materialization where run_id = :run_id", still)
    connection.executemany("delete from lineage_edge where run_id = :run_id", still)
    connection.executemany("delete from approval where run_id = :run_id", still)
    connection.executemany("delete from run where run_id = :run_id", still)
    return len(still)
