"""The tables of runs: what was asked for, and what became of each asset."""

from peewee import BigAutoField, BigIntegerField, BooleanField, DoubleField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = ["AssetEvent", "Materialization", "Run", "RunConflict", "RunKey"]


class Run(Table):
    """A run: what is to be materialized, for which partition, and how far it has come."""

    id = BigAutoField()
    run_id = TextField(unique=True)
    run_key = TextField()
    generation = BigIntegerField()
    status = TextField()
    asset = TextField()
    selection = JsonField()
    partition = TextField()
    fingerprint = TextField()
    source_kind = TextField()
    source_name = TextField(null=True)
    evaluation_id = TextField(null=True)
    payload = JsonField(null=True)
    tags = JsonField(null=True)
    priority = BigIntegerField()
    force = BooleanField()
    io_manager = TextField(null=True)
    patient = BooleanField()
    behind = BooleanField()
    attempt = BigIntegerField()
    interruptions = BigIntegerField()
    setbacks = BigIntegerField()
    error = TextField(null=True)
    reason = TextField(null=True)
    retry_of = TextField(null=True)
    requested_at = InstantField()
    ready_at = InstantField(null=True)
    started_at = InstantField(null=True)
    completed_at = InstantField(null=True)
    boot = TextField(null=True)
    fence = BigIntegerField()


class RunKey(Table):
    """Which run a key stands for."""

    key = TextField(primary_key=True)
    generation = BigIntegerField()
    run_id = TextField()
    fingerprint = TextField()
    freed = BooleanField()


class RunConflict(Table):
    """A request that came with a taken key and another meaning."""

    id = BigAutoField()
    run_key = TextField()
    existing_fingerprint = TextField()
    requested_fingerprint = TextField()
    source = TextField()
    at = InstantField()


class Materialization(Table):
    """One asset of a run."""

    id = BigAutoField()
    run_id = TextField()
    asset = TextField()
    partition = TextField()
    status = TextField()
    attempt = BigIntegerField()
    failures = BigIntegerField()
    ready_at = InstantField(null=True)
    snoozed_since = InstantField(null=True)
    overtaken_by = TextField(null=True)
    busy = TextField(null=True)
    started_at = InstantField(null=True)
    completed_at = InstantField(null=True)
    duration = DoubleField(null=True)
    error = TextField(null=True)
    reason = TextField(null=True)
    stored = JsonField(null=True)
    code_version = TextField(null=True)
    data_version = TextField(null=True)
    fence = BigIntegerField(null=True)
    approval = TextField(null=True)


class AssetEvent(Table):
    """A materialization that others may follow, in the order of commits."""

    id = BigAutoField()
    asset = TextField()
    partition = TextField()
    run_id = TextField()
    at = InstantField()


Run.add_index(Run.status, Run.priority.desc(), Run.ready_at, Run.id, name="run_queue")
Run.add_index(Run.source_kind, Run.source_name, Run.status, name="run_source")
Run.add_index(Run.retry_of, name="run_retry_of", where=Run.retry_of.is_null(False))
Materialization.add_index(Materialization.run_id, Materialization.asset, unique=True, name="materialization_run_asset")
Materialization.add_index(
    Materialization.asset, Materialization.partition, Materialization.status, name="materialization_asset_partition"
)
Materialization.add_index(Materialization.busy, name="materialization_busy", where=Materialization.busy.is_null(False))
Materialization.add_index(
    Materialization.asset, name="materialization_running", where=Materialization.status == "running"
)
AssetEvent.add_index(AssetEvent.asset, AssetEvent.id, name="asset_event_asset_id")
AssetEvent.add_index(AssetEvent.asset, AssetEvent.partition, AssetEvent.id, name="asset_event_partition_id")
