"""Which assets of a claimed run are still to be made: requests that piled up behind one run are done by one run.

What somebody else has made meanwhile is taken for done when that began after this run was requested (semantics 7), and
when nothing that it was made from is made by this run, or was made anew since.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowstone.core.run import MaterializationStatus
from flowstone.errors import AssetNotFound
from flowstone.lineage.store import inputs_of
from flowstone.runs.attempts import Failed, Skipped
from flowstone.runs.ledger import Ledger
from flowstone.runs.standing import ALREADY
from flowstone.runs.store import latest
from flowstone.state.connection import Row

__all__ = ["take_up"]

_OVERTAKE = """
    update materialization set overtaken_by = :run_id
    where asset = :asset and partition = :partition and status = 'pending' and run_id <> :run_id
"""
_FORGET = "update materialization set overtaken_by = null where id = :id"
_DONE_BY_OTHER = """
    select 1 from materialization where run_id = :run_id and asset = :asset and partition = :partition
    and status = 'success' and code_version is not distinct from :code_version
"""


def take_up(ledger: Ledger, run: Row, assets: Iterable[Row]) -> None:
    """End those pending assets of a run, in graph order, that need not be made, and claim what waits for the others."""
    # What people approved is made, and so is what is made from it, whatever others have made meanwhile.
    approved = any(row.approval is not None for row in assets)
    anew: set[str] = set()
    for row in assets:
        if row.status != MaterializationStatus.PENDING:
            continue
        if row.asset not in ledger.graph:
            ledger.end(row.asset, Failed(AssetNotFound.named(row.asset, ledger.graph.order())))
        elif (
            not approved
            and anew.isdisjoint(ledger.graph.dependencies(row.asset))
            and _was_made_meanwhile(ledger, run, row)
        ):
            ledger.end(row.asset, Skipped(ALREADY))
        else:
            anew.add(row.asset)
            _overtake(ledger, row)


def _overtake(ledger: Ledger, row: Row) -> None:
    """Let those that wait for the same know who makes it; whoever has overtaken this one counts no more."""
    if row.overtaken_by is not None:
        ledger.connection.execute(_FORGET, id=row.id)
    ledger.connection.execute(_OVERTAKE, run_id=row.run_id, asset=row.asset, partition=row.partition)


def _was_made_meanwhile(ledger: Ledger, run: Row, row: Row) -> bool:
    """Whether a run that was claimed after this one was requested has made the same thing, of what is newest now."""
    if row.overtaken_by is None or run.force or run.payload is not None:
        return False
    same = {"asset": row.asset, "partition": row.partition, "code_version": row.code_version}
    if not ledger.connection.execute(_DONE_BY_OTHER, same, run_id=row.overtaken_by):
        return False
    inputs = [each for each in inputs_of(ledger.connection, row.overtaken_by, row.asset) if each.asset in ledger.rows]
    newest = ((each, latest(ledger.connection, each.asset, each.partition)) for each in inputs)
    return all(found is None or found.run_id == each.run_id for each, found in newest)
