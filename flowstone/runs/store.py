"""The rows of runs: requests by run key, reading, and the newest success of an asset.

Every function works inside a transaction of its caller, so that a tick or an evaluation and the runs that it asks for
are written together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from flowstone.core.dedupe import DedupeMode
from flowstone.core.run import FINISHED_RUNS, Identity, RunStatus, Source
from flowstone.core.run_key import run_id
from flowstone.errors import RunNotFound
from flowstone.runs.records import Conflict, Materialization, Run, conflict_of, materialization_of, run_of
from flowstone.runs.requests import ResolvedRequest
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import Json, instant, json_text
from flowstone.state.page import Page, page

__all__ = [
    "NewRuns",
    "Requested",
    "conflicts",
    "find",
    "free_key",
    "latest",
    "list_runs",
    "materializations",
    "request",
    "status_of",
    "unfinished",
    "unfinished_of_source",
]

_TAKE_KEY = """
    insert into run_key (key, generation, run_id, fingerprint, freed)
    values (:key, 0, :run_id, :fingerprint, false)
    on conflict (key) do nothing
"""
_REUSE_KEY = """
    update run_key set generation = :generation, run_id = :run_id, fingerprint = :fingerprint, freed = false
    where key = :key and generation = :generation - 1
"""
_HOLDER = "select status, requested_at from run where run_id = :run_id"
_INSERT_RUN = """
    insert into run (
        run_id, run_key, generation, status, asset, selection, partition, fingerprint, source_kind, source_name,
        evaluation_id, payload, tags, priority, force, io_manager, patient, behind, attempt, interruptions, setbacks,
        retry_of, requested_at, ready_at, fence
    ) values (
        :run_id, :run_key, :generation, 'queued', :asset, :selection, :partition, :fingerprint, :source_kind,
        :source_name, :evaluation_id, :payload, :tags, :priority, :force, :io_manager, :patient, :behind, 0, 0,
        0, :retry_of, :now, :now, 0
    )
"""
_INSERT_MATERIALIZATION = """
    insert into materialization (run_id, asset, partition, status, attempt, failures, code_version)
    values (:run_id, :asset, :partition, 'pending', 0, 0, :code_version)
"""
_INSERT_CONFLICT = """
    insert into run_conflict (run_key, existing_fingerprint, requested_fingerprint, source, at)
    values (:key, :existing, :requested, :source, :now)
"""
_LATEST = """
    select m.* from asset_event e join materialization m on m.run_id = e.run_id and m.asset = e.asset
    where e.asset = :asset and e.partition = :partition and e.id > coalesce((
        select max(i.event) from invalidation i where i.asset = :asset and i.partition = :partition
    ), 0)
    order by e.id desc limit 1
"""
_EMPTY = json_text({})
_OPEN = tuple(status.value for status in RunStatus if status not in FINISHED_RUNS)
_UNFINISHED = " or ".join(f"status = {status!r}" for status in _OPEN)


@dataclass(frozen=True, slots=True)
class Requested:
    """What a request came to: a run of its own, one that was there already, or a conflict with one that was there.

    `asked` is the request, of one that made a run.
    """

    run_id: str
    created: bool
    conflict: bool = False
    asked: ResolvedRequest | None = field(default=None, repr=False, compare=False)


class NewRuns:
    """The rows of runs that are written together: many at once take less time than each by itself."""

    __slots__ = ("_assets", "_runs")

    def __init__(self) -> None:
        self._runs: list[dict[str, object]] = []
        self._assets: list[dict[str, object]] = []

    def add(self, asked: ResolvedRequest, identifier: str, generation: int, now: datetime) -> None:
        """Let the run that was asked for be written with the others."""
        self._runs.append(_run_row(asked, identifier, generation, now))
        self._assets.extend(_materialization_rows(asked, identifier))

    def write(self, connection: Connection) -> None:
        """Write what was added."""
        if self._runs:
            connection.executemany(_INSERT_RUN, self._runs)
            connection.executemany(_INSERT_MATERIALIZATION, self._assets)


def request(
    connection: Connection,
    resolved: ResolvedRequest,
    *,
    identity: Identity,
    now: datetime,
    together: NewRuns | None = None,
) -> Requested:
    """Write the run that `resolved` asks for, or find the one that has its key (semantics 6).

    Same key and fingerprint: the existing run. Same key, other fingerprint: a row in `run_conflict`, the first stays.
    A key that was freed, or is free by the dedupe scope of the request, is taken anew, in its next generation.
    With `together` the rows of a new run are left to the caller, who writes them at the end of the transaction.
    """
    generation = 0
    identifier = _identifier(identity, resolved.run_key, generation)
    key = {"key": resolved.run_key, "fingerprint": resolved.fingerprint}
    if not connection.change(_TAKE_KEY, key, run_id=identifier):
        taken = _taken(connection, resolved)
        generation = taken.generation + 1
        identifier = _identifier(identity, resolved.run_key, generation)
        free = taken.freed or _is_free(connection, resolved, taken.run_id, now)
        if not free or not connection.change(_REUSE_KEY, key, generation=generation, run_id=identifier):
            # Where it was free, another process has just taken it anew.
            return _meet(connection, resolved, now)
    new = NewRuns() if together is None else together
    new.add(resolved, identifier, generation, now)
    if together is None:
        new.write(connection)
    return Requested(identifier, created=True, asked=resolved)


def free_key(connection: Connection, key: str) -> bool:
    """Let the next request under this key make a new run; False when nobody has taken the key."""
    return connection.change("update run_key set freed = true where key = :key", key=key) > 0


def find(connection: Connection, identifier: str) -> Run | None:
    """The run of this id with the rows of its assets, or None."""
    rows = connection.execute("select * from run where run_id = :run_id", run_id=identifier)
    return run_of(rows[0], materializations(connection, run_id=identifier)) if rows else None


def status_of(connection: Connection, identifier: str) -> RunStatus:
    """Where the run of this id stands.

    Raises:
        RunNotFound: there is none.
    """
    for row in connection.execute("select status from run where run_id = :run_id", run_id=identifier):
        return RunStatus(row.status)
    raise RunNotFound.named(identifier)


def list_runs(
    connection: Connection,
    *,
    status: str | None = None,
    asset: str | None = None,
    partition: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Run]:
    """Runs, newest first, without the rows of their assets; `partition` in its stored form.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    filters = {"status": status, "asset": asset, "partition": partition}
    return page(connection, "run", run_of, filters, limit=limit, cursor=cursor)


def materializations(
    connection: Connection,
    *,
    run_id: str | None = None,
    asset: str | None = None,
    partition: str | None = None,
    status: str | None = None,
) -> tuple[Materialization, ...]:
    """The rows of assets within runs, oldest request first; `partition` in its stored form."""
    wanted = {"run_id": run_id, "asset": asset, "partition": partition, "status": status}
    given = {column: value for column, value in wanted.items() if value is not None}
    where = " and ".join(f"{column} = :{column}" for column in given) or "true"
    rows = connection.execute(f"select * from materialization where {where} order by id", given)
    return tuple(materialization_of(row) for row in rows)


def latest(connection: Connection, asset: str, partition: str) -> Materialization | None:
    """The newest success of an asset for a partition (stored form), by the order in which they were committed.

    None when it was never made, or was made invalid since.
    """
    rows = connection.execute(_LATEST, asset=asset, partition=partition)
    return materialization_of(rows[0]) if rows else None


def conflicts(connection: Connection, *, limit: int = 100, cursor: str | None = None) -> Page[Conflict]:
    """Requests that were refused since their key means something else, newest first.

    Raises:
        ValidationError: a cursor that no page gave, or a limit below 1.
    """
    return page(connection, "run_conflict", conflict_of, {}, limit=limit, cursor=cursor)


def unfinished(connection: Connection) -> int:
    """How many runs are not finished."""
    return int(connection.execute(f"select count(*) as open from run where {_UNFINISHED}")[0].open)


def unfinished_of_source(connection: Connection, kind: str, name: str) -> list[str]:
    """The ids of the unfinished runs that a schedule or sensor asked for, oldest first."""
    sql = f"select run_id from run where source_kind = :kind and source_name = :name and ({_UNFINISHED}) order by id"
    return [row.run_id for row in connection.execute(sql, kind=kind, name=name)]


def _identifier(identity: Identity, key: str, generation: int) -> str:
    return run_id(key, namespace=identity.namespace, secret=identity.secret, generation=generation)


def _taken(connection: Connection, asked: ResolvedRequest) -> Row:
    return connection.execute("select * from run_key where key = :key", key=asked.run_key)[0]


def _is_free(connection: Connection, asked: ResolvedRequest, holder: str, now: datetime) -> bool:
    """Whether the dedupe scope of a request frees its key from the run that holds it."""
    if asked.dedupe.mode is DedupeMode.FOREVER:
        return False
    rows = connection.execute(_HOLDER, run_id=holder)
    # Only what no live scope needs is ever pruned: a run that is gone was requested before any window.
    return not rows or asked.dedupe.frees(RunStatus(rows[0].status), instant(rows[0].requested_at), now)


def _meet(connection: Connection, asked: ResolvedRequest, now: datetime) -> Requested:
    taken = _taken(connection, asked)
    existing, fingerprint = taken.run_id, taken.fingerprint
    if fingerprint == asked.fingerprint:
        return Requested(existing, created=False)
    connection.execute(
        _INSERT_CONFLICT,
        key=asked.run_key,
        existing=fingerprint,
        requested=asked.fingerprint,
        source=str(asked.source),
        now=now,
    )
    return Requested(existing, created=False, conflict=True)


def _run_row(asked: ResolvedRequest, identifier: str, generation: int, now: datetime) -> dict[str, object]:
    source: Source = asked.source
    return {
        "run_id": identifier,
        "run_key": asked.run_key,
        "generation": generation,
        "asset": asked.asset,
        "selection": _listed(asked.selection),
        "partition": asked.partition,
        "fingerprint": asked.fingerprint,
        "source_kind": source.kind,
        "source_name": source.name,
        "evaluation_id": source.evaluation_id,
        "payload": None if asked.payload is None else Json(asked.payload),
        "tags": Json(dict(asked.tags)) if asked.tags else _EMPTY,
        "priority": asked.priority,
        "force": asked.force,
        "io_manager": asked.io_manager,
        "patient": asked.patient,
        "behind": asked.behind,
        "retry_of": asked.retry_of,
        "now": now,
    }


@lru_cache(maxsize=4096)
def _listed(selection: tuple[str, ...]) -> str:
    return json_text(selection)


def _materialization_rows(asked: ResolvedRequest, identifier: str) -> Iterable[dict[str, object]]:
    for asset in asked.selection:
        yield {
            "run_id": identifier,
            "asset": asset,
            "partition": asked.partition,
            "code_version": asked.code_versions.get(asset),
        }
