"""The steps of a run under its lease: claim, settle one asset, give back, recover.

A claim raises the run's fencing number. Each later step names boot and number, and changes nothing once another claim,
or a put-back, has raised it (semantics 7): so an actor that is late can't harm the one that took over.

A running run holds the (asset, partition) of each of its assets that is not finished; a call that outlived its attempt
goes on holding its own (`busy`). A run is claimed only when nobody holds one of its own, on this node or another: of
all nodes one claims at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowstone.core.graph import Graph
from flowstone.core.run import RUN_STEPS, MaterializationStatus, RunStatus, step
from flowstone.errors import StaleState
from flowstone.failpoints import failpoint
from flowstone.runs.attempts import Ended, Repeated, Snoozed, Verdict, Waiting
from flowstone.runs.coalescing import take_up
from flowstone.runs.ledger import Lease, Ledger, Progress, asset_rows
from flowstone.runs.limits import Limit, Limits, Slots
from flowstone.runs.standing import Standing
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_value

__all__ = [
    "Claim",
    "Claimed",
    "advance",
    "claim",
    "due_runs",
    "held_by",
    "next_due",
    "settle",
    "settle_all",
    "slots_lacking",
]

PAGE = 100
UNLIMITED = Limits()

ANOTHER_CLAIMS = timedelta(milliseconds=50)
"""How long to wait while another node claims."""

_CANDIDATES = """
    select * from run where status = 'queued' and ready_at <= :now
    and not (behind and exists (
        select 1 from run o where o.source_kind = run.source_kind and o.source_name = run.source_name
        and o.id < run.id and o.status in ('queued', 'running', 'waiting_approval')
    ))
    order by priority desc, ready_at, id limit :page offset :offset
"""
_ASSETS_OF_CANDIDATES = f"""
    select * from materialization where run_id in (select run_id from ({_CANDIDATES}) c) order by id
"""
_HELD = """
    select m.asset, m.partition from run r join materialization m on m.run_id = r.run_id
    where r.status = 'running' and m.status in ('pending', 'running')
    union select asset, partition from materialization where busy is not null
"""
_START_RUN = """
    update run set status = :status, boot = :boot, fence = :fence, started_at = coalesce(started_at, :now)
    where run_id = :run_id and status = 'queued'
"""
_UNDER_LEASE = """
    select m.id, m.run_id, m.asset, m.partition, m.status, m.attempt, m.failures, m.ready_at, m.snoozed_since, m.busy,
    m.error, m.reason, m.approval, r.attempt as run_attempt, r.setbacks as run_setbacks
    from run r join materialization m on m.run_id = r.run_id
    where r.run_id = :run_id and r.status = 'running' and r.boot = :boot and r.fence = :fence
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that was claimed, with what its materializer has to know of it.

    `queue_age` is how many seconds it was due before; `first` says that no claim came before this one.
    """

    lease: Lease
    run_key: str
    asset: str
    partition: str
    payload: Any
    io_manager: str | None
    patient: bool
    source_kind: str
    source_name: str | None
    evaluation_id: str | None
    progress: Progress
    queue_age: float = 0.0
    first: bool = True


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claims of one transaction, the runs that ended in it, and when the next queued run is due."""

    claims: tuple[Claim, ...]
    finished: tuple[str, ...]
    next_at: datetime | None


def claim(
    connection: Connection,
    graph: Graph,
    *,
    boot: str,
    now: datetime,
    limit: int,
    occupied: Collection[tuple[str, str]] = (),
    limits: Limits = UNLIMITED,
) -> Claimed:
    """Claim up to `limit` queued runs that are due, whose (asset, partition)s nobody holds and that lack no slots.

    `occupied` are those of calls in progress here: a run that another process cancelled holds its own no more, while
    its call goes on.
    """
    if not connection.turn("claims"):
        return Claimed((), (), now + ANOTHER_CLAIMS)
    held = held_by(connection) | set(occupied)
    slots = Slots(connection, limits)
    claims: list[Claim] = []
    finished: list[str] = []
    offset, page = 0, min(limit, PAGE)
    while len(claims) < limit:
        rows, assets_of = _candidates(connection, now=now, page=page, offset=offset)
        passed = 0
        for row in rows:
            assets = assets_of.get(row.run_id) or asset_rows(connection, row.run_id)
            wanted = {(m.asset, m.partition) for m in assets if m.status == MaterializationStatus.PENDING}
            if len(claims) == limit or not held.isdisjoint(wanted) or slots_lacking(slots, graph, row, assets, now):
                passed += 1
                continue
            claimed = _start_run(connection, graph, row, assets, boot, now, slots)
            if claimed is None:
                continue
            if claimed.progress.finished:
                finished.append(row.run_id)
            else:
                claims.append(claimed)
                held |= wanted
        if len(rows) < page:
            break
        offset, page = offset + passed, PAGE  # what was claimed is no candidate any more
    if claims:
        failpoint("run.before_claim")
    return Claimed(tuple(claims), tuple(finished), next_due(connection, now))


def _candidates(connection: Connection, **values: object) -> tuple[list[Row], dict[str, list[Row]]]:
    """Queued runs that are due, and the rows of their assets."""
    rows = connection.execute(_CANDIDATES, values)
    assets: dict[str, list[Row]] = {}
    for row in connection.execute(_ASSETS_OF_CANDIDATES, values) if rows else ():
        assets.setdefault(row.run_id, []).append(row)
    return rows, assets


def held_by(connection: Connection) -> set[tuple[str, str]]:
    """Each (asset, partition) that a running run holds, or a call which outlived its attempt."""
    return {(asset, partition) for asset, partition in connection.execute(_HELD)}


def due_runs(connection: Connection, now: datetime) -> list[Row]:
    """The first page of the runs that are due and wait for no earlier run of their source, in the order of claims."""
    return connection.execute(_CANDIDATES, now=now, page=PAGE, offset=0)


def slots_lacking(slots: Slots, graph: Graph, run: Row, assets: list[Row], now: datetime) -> Limit | None:
    """The limit that leaves no slot to a queued run that could do nothing now but take one."""
    if not slots.limits.concern(row.asset for row in assets):
        return None
    lease = Lease(run.run_id, "", run.fence)
    before = {"attempt": run.attempt, "setbacks": run.setbacks}
    standing = Standing.read(assets, lease.boot)
    return Ledger(slots.connection, graph, lease, standing, now, slots=slots, **before).slots_lacking


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
    attempt: int | None = None,
    approval: str | None = None,
    in_hand: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
) -> Progress:
    """Write what became of one asset, and what of the run comes next; the values as of `Ended`.

    Raises:
        StaleState: the lease is gone; nothing is changed.
    """
    ended = Ended(asset, verdict, duration, still_busy, attempt, approval)
    return settle_all(connection, graph, lease, [ended], now=now, in_hand=in_hand, limits=limits)


def settle_all(
    connection: Connection,
    graph: Graph,
    lease: Lease,
    attempts: Sequence[Ended],
    *,
    now: datetime,
    in_hand: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
    known: Standing | None = None,
) -> Progress:
    """Write what became of some assets of a run, and what of it comes next; `in_hand` and `known` as of `advance`.

    Raises:
        StaleState: the lease is gone; nothing is changed.
    """
    ledger = _held(connection, graph, lease, now, limits, known, [ended.asset for ended in attempts])
    for ended in attempts:
        if ledger.is_attempting(ended.asset, ended.attempt, ended.approval):
            _settle(ledger, ended)
    progress = ledger.advance(in_hand)
    failpoint("run.before_settle")
    return progress


def _settle(ledger: Ledger, ended: Ended) -> None:
    verdict, busy = ended.verdict, ledger.lease.boot if ended.still_busy else None
    if isinstance(verdict, Repeated | Snoozed):
        ledger.delay(ended.asset, verdict, busy=busy)
    elif isinstance(verdict, Waiting):
        ledger.wait(ended.asset, verdict, duration=ended.duration)
    else:
        ledger.end(ended.asset, verdict, duration=ended.duration, busy=busy)
    if not isinstance(verdict, Snoozed):
        ledger.count_attempt(ended.asset)


def advance(
    connection: Connection,
    graph: Graph,
    lease: Lease,
    *,
    now: datetime,
    in_hand: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
    known: Standing | None = None,
) -> Progress:
    """Do what has become due in a run while others of its assets, those `in_hand`, were in progress.

    `known` is how the run stood after the last step, when no other step of it is on its way.

    Raises:
        StaleState: the lease is gone; nothing is changed.
    """
    return _held(connection, graph, lease, now, limits, known, ()).advance(in_hand)


def _held(
    connection: Connection,
    graph: Graph,
    lease: Lease,
    now: datetime,
    limits: Limits,
    known: Standing | None,
    ended: Collection[str],
) -> Ledger:
    """The run's assets, when the lease still holds; it does until the transaction ends."""
    some = known.to_read(ended) if known else ()
    names = {f"asset{number}": asset for number, asset in enumerate(some)}
    only = f"and m.asset in ({', '.join(f':{name}' for name in names)})" if names else ""
    sql = f"{_UNDER_LEASE} {only} order by m.id {connection.lock('r')}"
    rows = connection.execute(sql, names, run_id=lease.run_id, boot=lease.boot, fence=lease.fence)
    if not rows:
        raise StaleState(f"run {lease.run_id} is not held under fencing number {lease.fence} any more", lease=lease)
    before = {"attempt": rows[0].run_attempt, "setbacks": rows[0].run_setbacks}
    standing = known.read_again(rows, lease.boot, graph) if known and some else Standing.read(rows, lease.boot)
    return Ledger(connection, graph, lease, standing, now, slots=Slots(connection, limits), **before)


def _start_run(
    connection: Connection, graph: Graph, run: Row, assets: list[Row], boot: str, now: datetime, slots: Slots
) -> Claim | None:
    """The claim; None when the run is queued no more, since somebody cancelled it just now."""
    status = step(RUN_STEPS, RunStatus(run.status), RunStatus.RUNNING)
    lease = Lease(run.run_id, boot, run.fence + 1)
    start = {"run_id": run.run_id, "status": status, "boot": boot, "fence": lease.fence, "now": now}
    if not connection.change(_START_RUN, start):
        return None
    before = {"attempt": run.attempt, "setbacks": run.setbacks}
    ledger = Ledger(connection, graph, lease, Standing.read(assets, boot), now, slots=slots, **before)
    take_up(ledger, run, assets)
    return Claim(
        lease=ledger.lease,
        run_key=run.run_key,
        asset=run.asset,
        partition=run.partition,
        payload=json_value(run.payload),
        io_manager=run.io_manager,
        patient=bool(run.patient),
        source_kind=run.source_kind,
        source_name=run.source_name,
        evaluation_id=run.evaluation_id,
        progress=ledger.advance(),
        queue_age=(now - instant(run.ready_at)).total_seconds(),
        first=run.started_at is None,
    )
