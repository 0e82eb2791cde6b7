"""Calls about backfills: start one, follow it, and decide over it. From any thread, and beside a runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from actors import AskTimeout
from flowstone.audit.store import record
from flowstone.audit.who import who
from flowstone.backfills import decisions, store
from flowstone.backfills.backfill import Backfill, BackfillPartition, BackfillStatus, PartitionStatus
from flowstone.backfills.decisions import Decision
from flowstone.backfills.driver import go_on, waiting_key
from flowstone.backfills.partitions import asked_partitions
from flowstone.core.checks import check_bool, check_int, check_status
from flowstone.core.names import check_name
from flowstone.core.partitions import encode_partition
from flowstone.core.run_key import fingerprint
from flowstone.durations import seconds
from flowstone.errors import TimeoutExceeded, ValidationError
from flowstone.failpoints import failpoint
from flowstone.runs import decisions as of_runs
from flowstone.runs.services import Services
from flowstone.state.connection import Connection
from flowstone.state.page import Page

__all__ = ["Backfills"]

LOOK = 5.0
"""Seconds after which one who waits looks again, although nobody told of anything."""

LOOK_BESIDE = 0.25
"""The same in a process that has no actors, to which nobody tells anything."""


class Backfills:
    """The group of calls `runtime.backfills`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def start(
        self,
        asset: str,
        partitions: Any,
        *,
        max_parallel: int = 4,
        force: bool = False,
        id: str | None = None,
        by: str | None = None,
    ) -> Backfill:
        """Begin to make an asset or selection for many partitions, and return when that is durable.

        `partitions` is a range ("2025-01-01..2025-01-31", both ends included), a list or set of partitions or of texts,
        or a partition set. At most `max_parallel` partitions are queued or running at a time. Those that have a valid
        value of each asset selected are skipped, unless `force`. With an `id` of one's own, asking again is harmless.

        Raises:
            AssetNotFound, PartitionError: the request makes no sense.
            ValidationError: there are no partitions, an option is wrong, or the id is that of a different backfill.
        """
        services, actor, identifier = self._services, who(by), self._identifier(id)
        check_int("max_parallel", max_parallel, minimum=1)
        check_bool("force", force)
        asked = asked_partitions(services.catalog, asset, partitions)
        meant = fingerprint(services.catalog.select(asset), asked)
        encoded = [encode_partition(partition) for partition in asked]
        now = services.clock.now()

        def begin(connection: Connection) -> bool:
            if not store.insert(
                connection,
                identifier,
                asset,
                encoded,
                max_parallel=max_parallel,
                force=force,
                fingerprint=meant,
                by=actor,
                now=now,
            ):
                _check_same(connection, identifier, asset, meant)
                return False
            details = {"asset": asset, "partitions": len(encoded), "max_parallel": max_parallel, "force": force}
            resource = f"backfill:{identifier}"
            record(connection, "backfill.started", actor=actor, resource=resource, details=details, at=now)
            failpoint("backfill.before_start")
            return True

        if services.database.transact(begin):
            failpoint("backfill.after_start")
            about = {"backfill": identifier, "asset": asset}
            services.telemetry.emit("flowstone.backfill.started", {"partitions": len(encoded)}, about)
        go_on(services, identifier)
        return self.get(identifier)

    def get(self, id: str) -> Backfill:
        """One backfill, with how many of its partitions are in each state.

        Raises:
            BackfillNotFound: there is no such backfill.
        """
        return self._services.database.read(lambda connection: store.find(connection, id))

    def list(self, *, status: str | None = None, limit: int = 100, cursor: str | None = None) -> Page[Backfill]:
        """Backfills, newest first, a page at a time.

        Raises:
            ValidationError: a cursor that no page gave, a limit below 1, or an unknown status.
        """
        check_status(status, BackfillStatus)
        return self._services.database.read(
            lambda connection: store.list_backfills(connection, status=status, limit=limit, cursor=cursor)
        )

    def partitions(self, id: str, *, status: str | None = None) -> tuple[BackfillPartition, ...]:
        """What became of each partition of a backfill: `partition status run_id error completed_at`, in order.

        Raises:
            BackfillNotFound: there is no such backfill.
            ValidationError: an unknown status.
        """
        check_status(status, PartitionStatus)
        self.get(id)
        return self._services.database.read(lambda connection: store.partitions(connection, id, status))

    def pause(self, id: str, *, by: str | None = None) -> Backfill:
        """Ask for no more runs; those under way go on.

        Raises:
            BackfillNotFound: there is no such backfill.
            ValidationError: it has finished.
        """
        decision = self._decision(id, by)
        return self._decide(id, lambda connection: decisions.pause(connection, decision))

    def resume(self, id: str, *, by: str | None = None) -> Backfill:
        """Go on with a paused backfill.

        Raises:
            BackfillNotFound: there is no such backfill.
            ValidationError: it has finished.
        """
        decision = self._decision(id, by)
        return self._decide(id, lambda connection: decisions.resume(connection, decision))

    def retry_failed(self, id: str, *, by: str | None = None) -> Backfill:
        """Try each failed or cancelled partition again as a new run; `succeeded` then counts those of all rounds.

        Raises:
            BackfillNotFound: there is no such backfill.
            ValidationError: it was cancelled.
        """
        decision = self._decision(id, by)
        return self._decide(id, lambda connection: decisions.retry_failed(connection, decision))

    def cancel(self, id: str, *, by: str | None = None) -> Backfill:
        """End a backfill: its runs are cancelled, and no more are asked for.

        Raises:
            BackfillNotFound: there is no such backfill.
            ValidationError: it has finished.
        """
        services, decision = self._services, self._decision(id, by)
        cancelled = services.database.transact(
            lambda connection: decisions.cancel(connection, services, decision)
        )
        for run_id in cancelled:
            of_runs.after_cancel(services, run_id)
        go_on(services, id)
        return self.get(id)

    def wait(
        self, id: str, *, progress: Callable[[Backfill], object] | None = None, timeout: object = None
    ) -> Backfill:
        """The row of a backfill when it has finished, whatever it came to; `progress` gets each new state of the row.

        Raises:
            BackfillNotFound: there is no such backfill.
            TimeoutExceeded: `timeout` (a duration in real time) passed; the backfill goes on.
            RuntimeStopped: the runtime ended first; the backfill goes on when it is started again.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        deadline = None if limit is None else time.monotonic() + limit
        services, key, told = self._services, waiting_key(id), None
        while True:
            future = services.future()
            # Added before the row is read: what happens in between is seen in one place or the other.
            services.waiters.add(key, future)
            try:
                row = self.get(id)
                if progress is not None and row != told:
                    told = row
                    progress(row)
                if row.finished:
                    return row
                services.waiters.check_open()
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                look = LOOK if "backfills" in services.directory else LOOK_BESIDE
                future.get(timeout=look if left is None else min(look, left))
            except AskTimeout:
                if deadline is not None and time.monotonic() >= deadline:
                    message = f"{row} and goes on: it did not finish within {limit:g} s"
                    raise TimeoutExceeded(message, backfill=id, status=row.status) from None
            finally:
                services.waiters.remove(key, future)

    def _identifier(self, given: str | None) -> str:
        return f"bf_{self._services.fresh_id()}" if given is None else check_name("backfill", given)

    def _decision(self, id: str, by: str | None) -> Decision:
        return Decision(id=id, actor=who(by), now=self._services.clock.now())

    def _decide(self, id: str, transaction: Callable[[Connection], object]) -> Backfill:
        self._services.database.transact(transaction)
        failpoint("backfill.after_decision")
        go_on(self._services, id)
        return self.get(id)


def _check_same(connection: Connection, identifier: str, asset: str, meant: str) -> None:
    """Refuse to take another backfill for the one that is asked for."""
    found = store.locked(connection, identifier)
    if (found.asset, found.fingerprint) != (asset, meant):
        message = f"backfill {identifier!r}, of {found.asset!r}, is about other partitions or assets than asked for"
        raise ValidationError(f"{message}; use another id", backfill=identifier)
