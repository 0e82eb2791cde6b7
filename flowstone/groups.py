"""The groups of calls that a runtime and a client share: what needs the store alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowstone.assembly import Settings
from flowstone.audit.calls import AuditLog
from flowstone.backfills.backfill import Backfill
from flowstone.backfills.calls import Backfills
from flowstone.connectors.calls import Connectors
from flowstone.connectors.queue_calls import Queue
from flowstone.core.partitions import Partition
from flowstone.core.selection import closure
from flowstone.lineage.calls import Lineage
from flowstone.metrics import Metrics, metrics_of
from flowstone.runs.approval_calls import Approvals
from flowstone.runs.calls import Handle, Materializations, Runs, ask, value_of
from flowstone.runs.dynamic import Partitions
from flowstone.runs.records import Record
from flowstone.runs.freshness import statuses
from flowstone.runs.services import Services
from flowstone.runs.validity import invalidate
from flowstone.runs.values import exists
from flowstone.why import Item, Why, why

__all__ = ["Groups"]


class Groups:
    """Calls about runs, their assets, and who did what; of anything that has services."""

    _settings: Settings

    @property
    def _services(self) -> Services:
        raise NotImplementedError

    @property
    def connectors(self) -> Connectors:
        """Calls about scheduled tasks, events and who handles them; handlers may be given before the start."""
        return Connectors(lambda: self._services, self._settings.handlers)

    def metrics(self) -> Metrics:
        """A snapshot of the lags and counts that tell how the runtime keeps up; its text is what Prometheus scrapes.

        Raises:
            StoreUnavailable: the store can't be read.
        """
        return metrics_of(self._services)

    @property
    def queue(self) -> Queue:
        """Queues of messages, with the calls of pgmq."""
        return Queue(self._services.database)

    def materialize(self, asset: str, partition: Partition = None, **options: Any) -> Record:
        """Make an asset's value for a partition and wait for it; options as of `materialize_async`.

        A client waits until the runtime that holds the store has made it.

        Raises:
            AssetNotFound, PartitionError, ValidationError: the request makes no sense.
            FlowstoneError: the run failed; the user's exception is in the cause chain.
        """
        return ask(self._services, asset, partition, patient=False, **options).result()

    def materialize_all(self, asset: str, partition: Partition = None, **options: Any) -> dict[str, Record]:
        """Make an asset and all that it depends on, in one run; the records by asset, in order.

        Raises:
            FlowstoneError: one failed, when the rest has ended; `error.context["records"]` holds the records.
        """
        return ask(self._services, closure(asset), partition, patient=False, **options).results()

    def materialize_async(self, asset: str, partition: Partition = None, **options: Any) -> Handle:
        """Ask for an asset's value and return at once, when the request is durable.

        `asset` may be a selection; options: `run_key`, `tags`, `priority`, `force`, `io_manager`. A client's request
        is served by the runtime that holds the store, or by the next one.

        Raises:
            AssetNotFound, PartitionError, ValidationError: the request makes no sense.
            RunKeyConflict: the run key means something else already.
        """
        return ask(self._services, asset, partition, patient=True, **options)

    def get(self, asset: str, partition: Partition = None) -> Any:
        """The newest value of an asset for a partition.

        Raises:
            AssetNotFound, PartitionError: the request makes no sense.
            ValueNotFound: it was never made, or it is gone.
        """
        return value_of(self._services, asset, partition)

    def exists(self, asset: str, partition: Partition = None) -> bool:
        """Whether an asset has a value for a partition; it is not loaded.

        Raises:
            AssetNotFound, PartitionError: the request makes no sense.
            IOManagerError: where the value is can't be asked.
        """
        return exists(self._services, asset, partition)

    def why(self, item: Item | str, partition: Partition = None) -> Why:
        """Why a tick, evaluation, run, … ran or did not, or an asset's value is stale: a sentence, and the data.

        `item` is a row, its id, or the name of an asset, whose `partition` is meant; of another schedule or sensor its
        name stands for its newest tick or evaluation.

        Raises:
            ValidationError: there is no such row.
            AssetNotFound, PartitionError: with a partition, when the request makes no sense.
        """
        return why(self._services, item, partition)

    def partition_of(self, asset: str, value: object) -> Partition:
        """The partition that a value means for an asset or selection: text is read by the partition set.

        Raises:
            AssetNotFound, PartitionError: there is no such asset, or its set does not hold the value.
        """
        return self._services.catalog.read_partition(asset, value)

    def assets_of(self, selection: str) -> tuple[str, ...]:
        """The assets that a selection such as `+report` names, in the order of the graph.

        Raises:
            AssetNotFound, ValidationError: it names an unknown one, or is no selection.
        """
        return self._services.catalog.select(selection)

    def statuses(self, selection: str = "*", partition: Partition = None) -> dict[str, str]:
        """How each asset of a selection stands for a partition, in one word: the status of its newest row while that is
        no success, else `fresh` or `stale`. Assets of which it is no partition are left out.

        Raises:
            AssetNotFound, ValidationError: it is no selection.
        """
        return statuses(self._services, selection, partition)

    def invalidate(
        self, asset: str, partition: Partition = None, *, by: str | None = None, reason: str | None = None
    ) -> bool:
        """Say that the values of an asset made so far for a partition are not valid; False when there was none.

        Until it is made again, `get` finds none, and what depends on it waits.

        Raises:
            AssetNotFound, PartitionError: the request makes no sense.
        """
        return invalidate(self._services, asset, partition, by=by, reason=reason)

    def backfill(
        self,
        asset: str,
        partitions: Any,
        *,
        max_parallel: int = 4,
        progress: Callable[[Backfill], object] | None = None,
        force: bool = False,
        timeout: object = None,
        id: str | None = None,
        by: str | None = None,
    ) -> Backfill:
        """Make an asset or selection for many partitions, and wait; the backfill's row, whatever it came to.

        Options as of `backfills.start`; `progress` gets each new state of the row, on the caller's thread. Partitions
        that fail are counted in the row, not raised. Whoever stops waiting leaves the backfill as it is.

        Raises:
            AssetNotFound, PartitionError, ValidationError: the request makes no sense.
            TimeoutExceeded: `timeout` (a duration in real time) passed; the backfill goes on.
        """
        group = self.backfills
        row = group.start(asset, partitions, max_parallel=max_parallel, force=force, id=id, by=by)
        return group.wait(row.id, progress=progress, timeout=timeout)

    @property
    def backfills(self) -> Backfills:
        """Calls about backfills."""
        return Backfills(self._services)

    @property
    def runs(self) -> Runs:
        """Calls about runs."""
        return Runs(self._services)

    @property
    def materializations(self) -> Materializations:
        """Calls about the assets within runs."""
        return Materializations(self._services)

    @property
    def approvals(self) -> Approvals:
        """Calls about approvals."""
        return Approvals(self._services)

    @property
    def partitions(self) -> Partitions:
        """Calls about the keys of dynamic partition sets."""
        return Partitions(self._services)

    @property
    def lineage(self) -> Lineage:
        """Calls about what was made from what."""
        return Lineage(self._services.database, self._services.catalog)

    @property
    def audit(self) -> AuditLog:
        """Calls about who did what."""
        return AuditLog(self._services.database)
