"""Calls about runs: ask for one, wait for it, list and cancel them. From any thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flowstone.audit.who import because, who
from flowstone.core.catalog import Catalog
from flowstone.core.checks import check_bool, check_status
from flowstone.core.keywords import check_keywords
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.run import MaterializationStatus, RunRequest, RunStatus, Source, SourceKind
from flowstone.core.run_key import hand_key
from flowstone.durations import seconds
from flowstone.errors import (
    AssetNotFound,
    ExecutionError,
    FlowstoneError,
    RunKeyConflict,
    ValueNotFound,
    shown,
)
from flowstone.failpoints import failpoint
from flowstone.runs import decisions, events, store
from flowstone.runs.execution import load_stored
from flowstone.runs.records import Conflict, Materialization, Record, Run
from flowstone.runs.requests import resolve
from flowstone.runs.services import Services
from flowstone.runs.waiting import run_of, until_finished
from flowstone.state.page import Page

__all__ = ["OPTIONS", "Handle", "Materializations", "Runs", "ask", "stored_partition", "value_of"]

OPTIONS = ("run_key", "tags", "priority", "force", "io_manager")
"""What `ask` takes by keyword."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A run that was asked for."""

    run_id: str
    _services: Services

    @property
    def status(self) -> RunStatus:
        """The run's state now."""
        return self._run().status

    def result(self, timeout: object = None) -> Record:
        """Wait for the run to finish; the record of its asset, of the last one in order for a selection.

        Raises:
            TimeoutExceeded: `timeout` (a duration in real time) passed; the run goes on.
            FlowstoneError: the run failed or was cancelled; the user's exception is in the cause chain.
        """
        run, errors = self._finished(timeout)
        record = self._record(run, run.materializations[-1])
        failed = [m for m in run.materializations if m.status is MaterializationStatus.FAILED]
        if run.status is RunStatus.CANCELLED:
            reason = run.reason or "no reason given"
            raise ExecutionError(f"run {self.run_id} was cancelled: {reason}", run_id=self.run_id)
        if failed:
            raise errors.get(failed[0].asset) or _rebuilt(failed[0].error or "")
        if run.status is RunStatus.FAILED:
            raise _rebuilt(run.error or "")
        return record

    def results(self, timeout: object = None) -> dict[str, Record]:
        """Wait for the run to finish; the records of all its assets, in order.

        Raises:
            TimeoutExceeded: `timeout` passed; the run goes on.
            FlowstoneError: the run failed or was cancelled; `error.context["records"]` holds the records.
        """
        run, _errors = self._finished(timeout)
        records = {m.asset: self._record(run, m) for m in run.materializations}
        try:
            self.result()
        except FlowstoneError as error:
            error.context["records"] = records
            raise
        return records

    def cancel(self) -> bool:
        """Cancel the run; False when it had finished before."""
        return Runs(self._services).cancel(self.run_id)

    def _run(self) -> Run:
        return Runs(self._services).get(self.run_id)

    def _finished(self, timeout: object) -> tuple[Run, Mapping[str, FlowstoneError]]:
        limit = None if timeout is None else seconds(timeout, "timeout")
        return until_finished(self._services, self.run_id, limit)

    def _record(self, run: Run, made: Materialization) -> Record:
        services = self._services

        def load() -> Any:
            if made.stored is None:
                raise ValueNotFound(f"run {run.run_id} stored no value of {made.asset}: it is {made.status}")
            return load_stored(services, made.asset, made.partition, made.stored, run_id=run.run_id)

        return Record(
            run_id=run.run_id,
            run_key=run.run_key,
            status=made.status,
            asset=made.asset,
            partition=made.partition,
            attempt=made.attempt,
            interruptions=run.interruptions,
            error=made.error,
            reason=made.reason,
            retry_of=run.retry_of,
            started_at=made.started_at,
            completed_at=made.completed_at,
            duration=made.duration,
            load=load,
        )


def ask(
    services: Services,
    asset: str,
    partition: Partition = None,
    *,
    patient: bool,
    **options: Any,
) -> Handle:
    """Commit a run, or find the one that has this key; then wake the dispatcher.

    Options: `run_key`, `tags`, `priority` of `RunRequest`, `force` and `io_manager`.

    Raises:
        AssetNotFound, PartitionError, ValidationError: the request makes no sense.
        RunKeyConflict: the key is taken by a run that means something else; the conflict is recorded.
    """
    check_keywords("materialize", options, OPTIONS)
    wanted = {name: options[name] for name in ("run_key", "tags", "priority") if name in options}
    resolved = resolve(
        services.catalog,
        RunRequest(asset, partition, **wanted),
        default_key=hand_key(),
        source=Source(SourceKind.MANUAL),
        force=check_bool("force", options.get("force", False)),
        io_manager=options.get("io_manager"),
        patient=patient,
    )
    requested = services.database.transact(
        lambda connection: store.request(
            connection, resolved, identity=services.identity, now=services.clock.now()
        ),
        told=lambda requested: events.requested(services, requested),
    )
    failpoint("run.after_request")
    if requested.conflict:
        message = f"run key {resolved.run_key!r} is taken by run {requested.run_id}, which means something else"
        raise RunKeyConflict(f"{message}; use another key", run_key=resolved.run_key, run_id=requested.run_id)
    services.wake()
    return Handle(requested.run_id, services)


def value_of(services: Services, asset: str, partition: Partition = None) -> Any:
    """The newest value of an asset for a partition.

    Raises:
        AssetNotFound, PartitionError: the request makes no sense.
        ValueNotFound: it was never made, or it is gone.
    """
    read = services.catalog.read_partition(asset, partition)
    encoded = encode_partition(read)
    found = services.database.read(lambda connection: store.latest(connection, asset, encoded))
    if found is None or found.stored is None:
        raise ValueNotFound(f"{asset!r} has no value for partition {shown(read)}", asset=asset, partition=read)
    return load_stored(services, asset, read, found.stored, run_id=found.run_id)


class Runs:
    """The group of calls `runtime.runs`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def list(
        self,
        *,
        status: str | None = None,
        asset: str | None = None,
        partition: Partition = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Runs, newest first, a page at a time; `partition=None` is any.

        Raises:
            PartitionError: it is no partition, or none of the asset's.
            ValidationError: a cursor that no page gave, a limit below 1, or an unknown status.
        """
        check_status(status, RunStatus)
        stored = stored_partition(self._services.catalog, asset, partition)
        return self._services.database.read(
            lambda connection: store.list_runs(
                connection, status=status, asset=asset, partition=stored, limit=limit, cursor=cursor
            )
        )

    def get(self, run_id: str) -> Run:
        """One run with the rows of its assets.

        Raises:
            RunNotFound: there is no such run.
        """
        return run_of(self._services, run_id)

    def cancel(self, run_id: str, *, reason: str = "cancelled by hand", by: str | None = None) -> bool:
        """Cancel a run that is not finished; False when it had finished before.

        `by` names who acts, for the audit; the user of the operating system by default.

        Raises:
            RunNotFound: there is no such run.
        """
        services, actor, words = self._services, who(by), because(reason) or ""
        cancelled = services.database.transact(
            lambda connection: decisions.cancel(
                connection, services, run_id, reason=words, actor=actor, now=services.clock.now()
            )
        )
        if cancelled:
            decisions.after_cancel(services, run_id)
        return cancelled

    def retry(self, run_id: str, *, by: str | None = None) -> Run:
        """Ask for a run like one that has finished; the new run, of which `retry_of` names the old one.

        It has the selection, partition, payload and options of the old one, and a key of its own, `retry:{run_id}:{n}`.

        Raises:
            RunNotFound: there is no such run.
            ValidationError: it has not finished.
            AssetNotFound, PartitionError: what it was about is not defined any more.
        """
        services, actor = self._services, who(by)
        requested = services.database.transact(
            lambda connection: decisions.retry(
                connection, services, run_id, actor=actor, now=services.clock.now()
            ),
            told=lambda requested: events.requested(services, requested),
        )
        services.wake()
        return self.get(requested.run_id)

    def conflicts(self, *, limit: int = 100, cursor: str | None = None) -> Page[Conflict]:
        """Requests that were refused since their run key means something else, newest first."""
        return self._services.database.read(lambda connection: store.conflicts(connection, limit=limit, cursor=cursor))


class Materializations:
    """The group of calls `runtime.materializations`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def list(
        self,
        *,
        asset: str | None = None,
        partition: Partition = None,
        run_id: str | None = None,
        status: str | None = None,
    ) -> tuple[Materialization, ...]:
        """Rows of assets within runs, oldest request first; `partition=None` is any.

        Raises:
            AssetNotFound, PartitionError: it is no partition of the asset.
            ValidationError: an unknown status.
        """
        check_status(status, MaterializationStatus)
        encoded = None
        if partition is not None:
            read = partition if asset is None else self._services.catalog.read_partition(asset, partition)
            encoded = encode_partition(read)
        return self._services.database.read(
            lambda connection: store.materializations(
                connection, run_id=run_id, asset=asset, partition=encoded, status=status
            )
        )


def stored_partition(catalog: Catalog, asset: str | None, partition: Partition) -> str | None:
    """The stored form of a partition to look for, read as that of a selection where this is known; None for any.

    Raises:
        PartitionError: it is no legal partition, or the selection's set does not hold it.
    """
    if partition is None:
        return None
    with suppress(AssetNotFound):
        partition = partition if asset is None else catalog.read_partition(asset, partition)
    return encode_partition(partition)


def _rebuilt(text: str) -> FlowstoneError:
    """An error as a row holds it, as an exception again."""
    kind, _, message = text.partition(": ")
    classes = {cls("").type: cls for cls in _below(FlowstoneError)}
    return classes.get(kind, ExecutionError)(message or text)


def _below(kind: type[FlowstoneError]) -> Iterator[type[FlowstoneError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)
