"""The tables, as peewee's models: they declare the schema and build the cold queries.

Hot statements are SQL text, run through `Connection.execute`. A test proves that the migrations lead to these tables.
The database that the models are bound to only tells peewee which SQL to write; it is never connected.
"""

from flowstone.state.models.assets import Approval, Invalidation, LineageEdge, LineageLink
from flowstone.state.models.backfills import Backfill, BackfillPartition
from flowstone.state.models.base import Table
from flowstone.state.models.connectors import (
    DeadLetter,
    EventAttempt,
    EventLog,
    Queue,
    QueueArchive,
    QueueMessage,
    ScheduledTaskInstant,
    ScheduledTasks,
    TaskKeeper,
)
from flowstone.state.models.operations import Audit, Cluster, Node, SchemaVersion
from flowstone.state.models.partitions import DynamicPartition
from flowstone.state.models.runs import AssetEvent, Materialization, Run, RunConflict, RunKey
from flowstone.state.models.schedules import Schedule, Tick
from flowstone.state.models.sensors import Arrival, Evaluation, Outbox, Sensor

__all__ = [
    "TABLES",
    "Approval",
    "Arrival",
    "AssetEvent",
    "Audit",
    "Backfill",
    "BackfillPartition",
    "Cluster",
    "DeadLetter",
    "DynamicPartition",
    "Evaluation",
    "EventAttempt",
    "EventLog",
    "Invalidation",
    "LineageEdge",
    "LineageLink",
    "Materialization",
    "Node",
    "Outbox",
    "Queue",
    "QueueArchive",
    "QueueMessage",
    "Run",
    "RunConflict",
    "RunKey",
    "Schedule",
    "ScheduledTaskInstant",
    "ScheduledTasks",
    "SchemaVersion",
    "Sensor",
    "TaskKeeper",
    "Tick",
]

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
    Approval,
    LineageEdge,
    LineageLink,
    Invalidation,
    Backfill,
    BackfillPartition,
    DynamicPartition,
    Queue,
    QueueMessage,
    QueueArchive,
    ScheduledTasks,
    ScheduledTaskInstant,
    TaskKeeper,
    EventLog,
    EventAttempt,
    DeadLetter,
    Node,
    Cluster,
    Audit,
    SchemaVersion,
)
"""All tables."""
