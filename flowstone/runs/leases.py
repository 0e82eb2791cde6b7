"""The steps of a run under its lease: claim, settle one asset, give back, recover.

A claim raises the run's fencing number. Each later step names boot and number, and changes nothing once another claim,
or a put-back, has raised it (semantics 7): so an actor that is late can't harm the one that took over.

A running run holds the (asset, partition) of each of its assets that is not finished; a call that outlived its attempt
goes on holding its own (`busy`). A run is claimed only when nobody holds one of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flowstone.core.graph import Graph
from flowstone.core.run import (
    MATERIALIZATION_STEPS,
    RUN_STEPS,
    MaterializationStatus,
    RunStatus,
    step,
)
from flowstone.errors import AssetNotFound, FlowstoneError, StaleState
from flowstone.runs.attempts import Failed, Repeated, Skipped, Snoozed, Succeeded, Verdict
from flowstone.runs.plan import AssetState, Plan, plan
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import Json, instant, json_value

__all__ = ["ALREADY", "Claim", "Claimed", "Lease", "Progress", "Started", "advance", "check_lease", "claim", "end_run", "error_text", "next_due", "settle"]

ALREADY = "already materialized"
PAGE = 100

_CANDIDATES = """
    select * from run where status = 'queued' and ready_at <= :now
    and not (behind and exists (
        select 1 from run o where o.source_kind = run.source_kind and o.source_name = run.source_name
        and o.id < run.id and o.status in ('queued', 'running')
    ))
    order by priority desc, ready_at, id limit :page offset :offset
"""
_HELD = """
    select m.asset, m.partition from run r join materialization m on m.run_id = r.run_id
    where r.status = 'running' and m.status in ('pending', 'running')
    union select asset, partition from materialization where busy = :boot
"""
_PENDING = "select * from materialization where run_id = :run_id order by id"
_START_RUN = """
    update run set status = :status, boot = :boot, fence = fence + 1, started_at = coalesce(started_at, :now)
    where run_id = :run_id returning fence
"""
_OVERTAKE = """
    update materialization set overtaken_by = :run_id
    where asset = :asset and partition = :partition and status = 'pending' and run_id <> :run_id
"""
_DONE_BY_OTHER = """
    select 1 from materialization where run_id = :run_id and asset = :asset and partition = :partition
    and status = 'success' and code_version is not distinct from :code_version
"""
_START_ASSET = """
    update materialization set status = :status, attempt = failures + 1, started_at = :now, ready_at = null,
    busy = null, fence = :fence where run_id = :run_id and asset = :asset returning attempt, snoozed_since
"""
_RUN = "select * from run where run_id = :run_id"
_END_ASSET = """
    update materialization set status = :status, completed_at = :now, duration = :duration, error = :error,
    reason = :reason, stored = :stored, data_version = :data_version, busy = :busy
    where run_id = :run_id and asset = :asset
"""
_DELAY_ASSET = """
    update materialization set status = :status, ready_at = :ready_at, failures = failures + :failed, error = :error,
    snoozed_since = :snoozed_since, busy = :busy where run_id = :run_id and asset = :asset
"""
_EVENT = "insert into asset_event (asset, partition, run_id, at) values (:asset, :partition, :run_id, :now)"
_END_RUN = "update run set status = :status, completed_at = :now, error = :error, boot = null where run_id = :run_id"
_REQUEUE = "update run set status = :status, ready_at = :ready_at, boot = null where run_id = :run_id"
_COUNT_ATTEMPT = "update run set attempt = max(attempt, :attempt), setbacks = 0 where run_id = :run_id"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a run: the boot that claimed it and the fencing number of the claim."""

    run_id: str
    boot: str
    fence: int


@dataclass(frozen=True, slots=True)
class Started:
    """One asset that is to be executed now."""

    asset: str
    attempt: int
    snoozed_since: datetime | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after a step: start these, or it is finished, or it was put off to `waits_until`."""

    start: tuple[Started, ...] = ()
    finished: RunStatus | None = None
    wait_until: datetime | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that was claimed, with what its materializer has to know of it."""

    lease: Lease
    run_key: str
    asset: str
    selection: tuple[str, ...]
    partition: str
    payload: Any
    io_manager: str | None
    patient: bool
    source_kind: str
    source_name: str | None
    evaluation_id: str | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claims of one transaction, the runs that ended in it, and when the next queued run is due."""

    claims: tuple[Claim, ...]
    finished: tuple[str, ...]
    next_at: datetime | None


def claim(connection: Connection, graph: Graph, *, boot: str, now: datetime, limit: int) -> Claimed:
    """Claim up to `limit` queued runs that are due and whose (asset, partition)s nobody holds."""
    held = {(row.asset, row.partition) for row in connection.execute(_HELD, boot=boot)}
    claims: list[Claim] = []
    finished: list[str] = []
    offset = 0
    while len(claims) < limit:
        rows = connection.execute(_CANDIDATES, now=now, page=PAGE, offset=offset)
        taken = 0
        for row in rows:
            assets = connection.execute(_PENDING, run_id=row.run_id)
            wanted = {(m.asset, m.partition) for m in assets if m.status == MaterializationStatus.PENDING}
            if len(claims) == limit or wanted & held:
                continue
            taken += 1
            claimed = _start_run(connection, graph, row, assets, boot, now)
            if claimed.progress.finished:
                finished.append(row.run_id)
            else:
                claims.append(claimed)
                held |= wanted
        if len(rows) < PAGE:
            break
        offset += PAGE - taken  # what was claimed is no candidate any more
    return Claimed(tuple(claims), tuple(finished), next_due(connection, now))


def next_due(connection: Connection, now: datetime) -> datetime | None:
    """The instant at which the next queued run that has to wait becomes due."""
    sql = "select min(ready_at) as next_at from run where status = 'queued' and ready_at > :now"
    next_at: str | None = connection.execute(sql, now=now)[0].next_at
    return instant(next_at)


def settle(
    connection: Connection,
    graph: Graph,
    lease: Lease,
    asset: str,
    verdict: Verdict,
    *,
    now: datetime,
    duration: float,
    still_busy: bool = False,
) -> Progress:
    """Write what became of one asset, and what of the run comes next.

    `still_busy` says that the call goes on although its attempt is over: its (asset, partition) stays held.

    Raises:
        StaleState: the lease is gone; nothing is changed.
    """
    run = check_lease(connection, lease)
    row = next(r for r in connection.execute(_PENDING, run_id=lease.run_id) if r.asset == asset)
    busy = lease.boot if still_busy else None
    if isinstance(verdict, Repeated | Snoozed):
        _delay(connection, row, verdict, now, busy)
    else:
        _end(connection, row, verdict, now=now, duration=duration, busy=busy)
    if not isinstance(verdict, Snoozed):
        connection.execute(_COUNT_ATTEMPT, run_id=lease.run_id, attempt=row.attempt)
    return _advance(connection, graph, run, lease, now)


def advance(connection: Connection, graph: Graph, lease: Lease, *, now: datetime) -> Progress:
    """Do what has become due in a run while others of its assets were in progress.

    Raises:
        StaleState: the lease is gone; nothing is changed.
    """
    return _advance(connection, graph, check_lease(connection, lease), lease, now)


def check_lease(connection: Connection, lease: Lease) -> Row:
    """The run's row, when the lease still holds.

    Raises:
        StaleState: another claim, a put-back or an end came in between.
    """
    rows = connection.execute(_RUN, run_id=lease.run_id)
    if not rows or (rows[0].status, rows[0].boot, rows[0].fence) != ("running", lease.boot, lease.fence):
        raise StaleState(f"run {lease.run_id} is not held under fencing number {lease.fence} any more", lease=lease)
    return rows[0]


def end_run(connection: Connection, run: Row, status: RunStatus, *, now: datetime, error: str | None) -> None:
    """Finish a run."""
    step(RUN_STEPS, RunStatus(run.status), status)
    connection.execute(_END_RUN, run_id=run.run_id, status=status, now=now, error=error)


def error_text(error: FlowstoneError) -> str:
    """An error as rows hold it: its type, then its message."""
    return f"{error.type}: {error}"


def _start_run(
    connection: Connection, graph: Graph, run: Row, assets: list[Row], boot: str, now: datetime
) -> Claim:
    status = step(RUN_STEPS, RunStatus(run.status), RunStatus.RUNNING)
    fence = connection.execute(_START_RUN, run_id=run.run_id, status=status, boot=boot, now=now)[0].fence
    lease = Lease(run.run_id, boot, fence)
    for row in assets:
        if row.status == MaterializationStatus.PENDING:
            if row.asset not in graph:
                _end(connection, row, Failed(AssetNotFound.named(row.asset)), now=now, duration=None, busy=None)
            elif _was_made_meanwhile(connection, run, row):
                _end(connection, row, Skipped(ALREADY), now=now, duration=None, busy=None)
            else:
                keys = {"asset": row.asset, "partition": row.partition}
                connection.execute(_OVERTAKE, keys, run_id=run.run_id)
    started = connection.execute(_RUN, run_id=run.run_id)[0]
    return Claim(
        lease=lease,
        run_key=run.run_key,
        asset=run.asset,
        selection=tuple(json_value(run.selection)),
        partition=run.partition,
        payload=json_value(run.payload),
        io_manager=run.io_manager,
        patient=bool(run.patient),
        source_kind=run.source_kind,
        source_name=run.source_name,
        evaluation_id=run.evaluation_id,
        progress=_advance(connection, graph, started, lease, now),
    )


def _was_made_meanwhile(connection: Connection, run: Row, row: Row) -> bool:
    """Whether a run that was claimed after this one was requested has made the same thing (semantics 7)."""
    if row.overtaken_by is None or run.force or run.payload is not None:
        return False
    same = {"asset": row.asset, "partition": row.partition, "code_version": row.code_version}
    return bool(connection.execute(_DONE_BY_OTHER, same, run_id=row.overtaken_by))


def _advance(connection: Connection, graph: Graph, run: Row, lease: Lease, now: datetime) -> Progress:
    """Apply the plan: skip what is blocked, start what is ready, end or put off the run."""
    rows = {row.asset: row for row in connection.execute(_PENDING, run_id=lease.run_id)}
    needs = {asset: graph.dependencies(asset) if asset in graph else () for asset in rows}
    planned: Plan = plan(needs, {asset: _state(row) for asset, row in rows.items()}, now)
    for asset, blocked_by in planned.skip:
        _end(connection, rows[asset], Skipped(f"{blocked_by} has no value"), now=now, duration=None, busy=None)
    if planned.finished is not None:
        failed = [row.error for row in connection.execute(_PENDING, run_id=lease.run_id) if row.status == "failed"]
        end_run(connection, run, planned.finished, now=now, error=failed[0] if failed else None)
        return Progress(finished=planned.finished)
    started = tuple(_start_asset(connection, rows[asset], lease, now) for asset in planned.start)
    running = started or any(row.status == MaterializationStatus.RUNNING for row in rows.values())
    if not running:
        connection.execute(_REQUEUE, run_id=lease.run_id, status=RunStatus.QUEUED, ready_at=planned.wait_until)
    return Progress(start=started, wait_until=planned.wait_until, released=not running)


def _state(row: Row) -> AssetState:
    satisfied = row.status == MaterializationStatus.SKIPPED and row.reason == ALREADY
    return AssetState(MaterializationStatus(row.status), instant(row.ready_at), satisfied)


def _start_asset(connection: Connection, row: Row, lease: Lease, now: datetime) -> Started:
    status = step(MATERIALIZATION_STEPS, MaterializationStatus(row.status), MaterializationStatus.RUNNING)
    keys = {"run_id": lease.run_id, "asset": row.asset}
    begun = connection.execute(_START_ASSET, keys, status=status, now=now, fence=lease.fence)[0]
    return Started(row.asset, begun.attempt, instant(begun.snoozed_since))


_ENDED = {
    Succeeded: MaterializationStatus.SUCCESS,
    Skipped: MaterializationStatus.SKIPPED,
    Failed: MaterializationStatus.FAILED,
}


def _end(
    connection: Connection, row: Row, verdict: Verdict, *, now: datetime, duration: float | None, busy: str | None
) -> None:
    status = step(MATERIALIZATION_STEPS, MaterializationStatus(row.status), _ENDED[type(verdict)])
    stored = verdict.stored if isinstance(verdict, Succeeded) else None
    connection.execute(
        _END_ASSET,
        run_id=row.run_id,
        asset=row.asset,
        status=status,
        now=now,
        duration=duration,
        error=error_text(verdict.error) if isinstance(verdict, Failed) else None,
        reason=verdict.reason if isinstance(verdict, Skipped) else None,
        stored=None if stored is None else Json(asdict(stored)),
        data_version=None if stored is None else stored.data_version,
        busy=busy,
    )
    if stored is not None:
        connection.execute(_EVENT, asset=row.asset, partition=row.partition, run_id=row.run_id, now=now)


def _delay(connection: Connection, row: Row, verdict: Repeated | Snoozed, now: datetime, busy: str | None) -> None:
    status = step(MATERIALIZATION_STEPS, MaterializationStatus(row.status), MaterializationStatus.PENDING)
    snoozed = isinstance(verdict, Snoozed)
    connection.execute(
        _DELAY_ASSET,
        run_id=row.run_id,
        asset=row.asset,
        status=status,
        ready_at=verdict.ready_at,
        failed=0 if snoozed else 1,
        error=error_text(verdict.error),
        snoozed_since=(row.snoozed_since or now) if snoozed else None,
        busy=busy,
    )
