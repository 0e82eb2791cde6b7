"""The tables, as peewee's models: they declare the schema and build the cold queries.

Hot statements are SQL text, run through `Connection.execute`. A test proves that the migrations lead to these tables.
The database that the models are bound to only tells peewee which SQL to write; it is never connected.
"""

from typing import Any

from peewee import BigAutoField, BigIntegerField, BooleanField, CompositeKey, DoubleField, TextField
from peewee import Model, SqliteDatabase

from flowstone.state import fields

__all__ = [
    "TABLES",
    "Arrival",
    "AssetEvent",
    "Audit",
    "Evaluation",
    "InstantField",
    "JsonField",
    "Materialization",
    "Node",
    "Outbox",
    "Run",
    "RunConflict",
    "RunKey",
    "Schedule",
    "SchemaVersion",
    "Sensor",
    "Table",
    "Tick",
]


class InstantField(TextField):
    """An aware instant."""

    field_type = "INSTANT"

    def db_value(self, value: Any) -> Any:
        """The stored form."""
        return fields.bind(value)


class JsonField(TextField):
    """A value as JSON."""

    field_type = "STRUCTURE"

    def db_value(self, value: Any) -> Any:
        """The stored form; a text is taken for JSON already."""
        return fields.bind(value)


class Table(Model):
    """What all tables share."""

    class Meta:
        """Which SQL to write, and tables named in snake case."""

        database = SqliteDatabase(None, field_types={"INSTANT": "TEXT", "STRUCTURE": "TEXT"})
        legacy_table_names = False


class Schedule(Table):
    """When an asset is due, and up to which instant that has been seen to."""

    name = TextField(primary_key=True)
    target = TextField()
    cron = TextField(null=True)
    every = DoubleField(null=True)
    timezone = TextField()
    gap = TextField()
    fold = TextField()
    partition_rule = TextField(null=True)
    misfire = JsonField()
    overlap = TextField()
    dedupe = TextField()
    jitter = DoubleField()
    enabled = BooleanField()
    metadata = JsonField()
    version = BigIntegerField()
    definition = TextField()
    origin = TextField()
    orphaned = BooleanField()
    created_at = InstantField()
    updated_at = InstantField()
    accounted_until = InstantField()
    last_scheduled_for = InstantField(null=True)
    last_manual_ms = BigIntegerField(null=True)


class Tick(Table):
    """One due instant of a schedule, or a counted range of them, and what became of it."""

    id = BigAutoField()
    tick_id = TextField(unique=True)
    schedule = TextField()
    scheduled_for = InstantField()
    until = InstantField(null=True)
    count = BigIntegerField()
    manual = BooleanField()
    status = TextField()
    reason = TextField(null=True)
    run_id = TextField(null=True)
    partition = TextField(null=True)
    error = TextField(null=True)
    blocked_by = TextField(null=True)
    at = InstantField()


class Sensor(Table):
    """A sensor's definition and state."""

    name = TextField(primary_key=True)
    kind = TextField()
    type = TextField()
    config = JsonField()
    definition = TextField()
    definition_version = BigIntegerField()
    interval = DoubleField(null=True)
    dedupe = TextField()
    status = TextField()
    reason = TextField(null=True)
    faults = JsonField()
    cursor = TextField(null=True)
    state_version = BigIntegerField()
    consecutive_failures = BigIntegerField()
    last_epoch = BigIntegerField(null=True)
    last_evaluation_at = InstantField(null=True)
    next_poll_at = InstantField(null=True)
    orphaned = BooleanField()
    removed = BooleanField()
    created_at = InstantField()
    updated_at = InstantField()


class Evaluation(Table):
    """One poll or push of a sensor, and what it committed."""

    id = BigAutoField()
    eval_id = TextField(unique=True)
    eval_key = TextField(index=True)
    sensor = TextField()
    trigger = TextField()
    status = TextField()
    reason = TextField(null=True)
    reason_code = TextField(null=True)
    expected_state_version = BigIntegerField(null=True)
    state_version_after = BigIntegerField(null=True)
    cursor_before = TextField(null=True)
    cursor_after = TextField(null=True)
    request_count = BigIntegerField()
    duplicate_count = BigIntegerField()
    run_ids = JsonField()
    at = InstantField()


class Arrival(Table):
    """The key of something that a sensor has committed before."""

    sensor = TextField()
    key = TextField()
    eval_id = TextField()
    at = InstantField()

    class Meta:
        """A key of two columns."""

        primary_key = CompositeKey("sensor", "key")


class Outbox(Table):
    """A call of a sensor's callback that is to be delivered."""

    id = BigAutoField()
    sensor = TextField()
    eval_id = TextField()
    partition = TextField()
    payload = JsonField(null=True)
    status = TextField()
    attempts = BigIntegerField()
    next_at = InstantField(null=True)
    error = TextField(null=True)
    created_at = InstantField()
    delivered_at = InstantField(null=True)


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


class AssetEvent(Table):
    """A materialization that others may follow, in the order of commits."""

    id = BigAutoField()
    asset = TextField()
    partition = TextField()
    run_id = TextField()
    at = InstantField()


class Node(Table):
    """A machine that runs, or ran, a runtime on this store."""

    name = TextField(primary_key=True)
    boot = TextField()
    pid = BigIntegerField()
    host = TextField()
    started_at = InstantField()
    heartbeat_at = InstantField()


class Audit(Table):
    """Who did what to what."""

    id = BigAutoField()
    event_type = TextField()
    actor = TextField()
    resource = TextField()
    details = JsonField()
    at = InstantField()


class SchemaVersion(Table):
    """The steps of migration that the store has seen."""

    number = BigIntegerField(primary_key=True)
    name = TextField()
    checksum = TextField()
    applied_at = InstantField()


Tick.add_index(Tick.schedule, Tick.id.desc(), name="tick_schedule_id")
Tick.add_index(Tick.schedule, Tick.until, name="tick_range", where=Tick.until.is_null(False))
Tick.add_index(Tick.schedule, Tick.scheduled_for, name="tick_ahead", where=Tick.manual)
Evaluation.add_index(
    Evaluation.eval_key,
    unique=True,
    name="evaluation_settled",
    where=Evaluation.status.in_(["triggered", "no_trigger"]),
)
Evaluation.add_index(Evaluation.sensor, Evaluation.id.desc(), name="evaluation_sensor_id")
Outbox.add_index(Outbox.status, Outbox.next_at, name="outbox_status_next")
Outbox.add_index(Outbox.sensor, Outbox.id.desc(), name="outbox_sensor_id")
Run.add_index(Run.status, Run.priority.desc(), Run.ready_at, Run.id, name="run_queue")
Run.add_index(Run.source_kind, Run.source_name, Run.status, name="run_source")
Materialization.add_index(Materialization.run_id, Materialization.asset, unique=True, name="materialization_run_asset")
Materialization.add_index(
    Materialization.asset, Materialization.partition, Materialization.status, name="materialization_asset_partition"
)
Materialization.add_index(Materialization.busy, name="materialization_busy", where=Materialization.busy.is_null(False))
AssetEvent.add_index(AssetEvent.asset, AssetEvent.id, name="asset_event_asset_id")
AssetEvent.add_index(AssetEvent.asset, AssetEvent.partition, AssetEvent.id, name="asset_event_partition_id")
Audit.add_index(Audit.resource, Audit.id.desc(), name="audit_resource_id")

TABLES: tuple[type[Table], ...] = (
    Schedule,
    Tick,
    Sensor,
    Evaluation,
    Arrival,
    Outbox,
    Run,
    RunKey,
    RunConflict,
    Materialization,
    AssetEvent,
    Node,
    Audit,
    SchemaVersion,
)
"""All tables."""
