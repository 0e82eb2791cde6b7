"""The kinds of rows that commands print, with the attributes that programs rely on."""

from flowstone.cli.output import RowKind

__all__ = [
    "APPROVAL",
    "ASSET",
    "AUDIT",
    "BACKFILL",
    "BACKFILL_PARTITION",
    "CONFLICT",
    "DEAD_LETTER",
    "EVALUATION",
    "EVENT",
    "LINEAGE",
    "MATERIALIZATION",
    "MESSAGE",
    "METRICS",
    "QUEUE",
    "RECORD",
    "RUN",
    "SCHEDULE",
    "SENSOR",
    "TASK",
    "TICK",
    "WHY",
]

SCHEDULE = RowKind(
    "schedules",
    (
        *("name", "target", "cron", "every", "timezone", "status", "enabled", "version", "last_scheduled_for"),
        *("accounted_until", "origin", "metadata"),
    ),
    ("name", "status", "target", "cron", "every", "timezone", "last_scheduled_for", "version"),
)
TICK = RowKind(
    "ticks, newest first",
    (
        *("tick_id", "schedule", "scheduled_for", "until", "count", "manual", "status", "reason", "run_id"),
        *("partition", "error", "blocked_by", "at"),
    ),
    ("scheduled_for", "status", "reason", "count", "partition", "run_id", "blocked_by", "error"),
)
SENSOR = RowKind(
    "sensors",
    (
        *("name", "kind", "type", "status", "reason", "state", "cursor", "state_version", "consecutive_failures"),
        *("poll_interval", "last_evaluation_at", "next_poll_at", "config"),
    ),
    ("name", "kind", "status", "reason", "poll_interval", "consecutive_failures", "last_evaluation_at", "state"),
)
EVALUATION = RowKind(
    "evaluations, newest first",
    (
        *("eval_id", "eval_key", "sensor", "cause", "status", "reason", "reason_code", "expected_state_version"),
        *("state_version_after", "cursor_before", "cursor_after", "request_count", "duplicate_count", "run_ids", "at"),
    ),
    ("at", "eval_id", "cause", "status", "reason", "request_count", "duplicate_count", "run_ids"),
)
_RUN = (
    *("run_id", "run_key", "status", "asset", "partition", "attempt", "interruptions", "error", "reason", "retry_of"),
    *("priority", "tags", "requested_at", "started_at", "completed_at"),
)
RUN = RowKind(
    "runs, newest first",
    _RUN,
    ("run_id", "status", "asset", "partition", "attempt", "requested_at", "error"),
)
CONFLICT = RowKind(
    "conflicts of run keys, newest first",
    ("run_key", "existing_fingerprint", "requested_fingerprint", "source", "at"),
    ("at", "source", "run_key", "existing_fingerprint", "requested_fingerprint"),
)
MATERIALIZATION = RowKind(
    "assets of the run",
    (
        *("asset", "partition", "run_id", "status", "attempt", "started_at", "completed_at", "duration", "error"),
        "reason",
    ),
    ("asset", "partition", "status", "attempt", "started_at", "duration", "error", "reason"),
)
AUDIT = RowKind(
    "audit, newest first",
    ("id", "event_type", "actor", "resource", "details", "at"),
    ("at", "event_type", "actor", "resource", "details"),
)
TASK = RowKind(
    "scheduled tasks",
    (
        *("name", "cron_expression", "event_type", "payload", "timezone", "enabled", "updated_at", "status", "error"),
        "accounted_until",
    ),
    ("name", "status", "cron_expression", "timezone", "event_type", "payload", "updated_at", "error"),
)
EVENT = RowKind(
    "events, newest first",
    ("id", "task", "event_type", "payload", "scheduled_for", "at", "result", "lag", "run_ids"),
    ("at", "id", "event_type", "task", "scheduled_for", "result", "lag", "payload"),
)
DEAD_LETTER = RowKind(
    "dead letters, oldest first",
    ("id", "event_type", "payload", "error", "deliveries", "at"),
    ("at", "id", "event_type", "deliveries", "error"),
)
QUEUE = RowKind("queues", ("name", "kind", "created_at"), ("name", "kind", "created_at"))
MESSAGE = RowKind(
    "messages",
    ("msg_id", "read_ct", "enqueued_at", "vt", "message", "headers"),
    ("msg_id", "read_ct", "enqueued_at", "vt", "message"),
)
METRICS = RowKind(
    "queue",
    (
        *("queue_name", "queue_length", "queue_visible_length", "newest_msg_age_sec", "oldest_msg_age_sec"),
        *("total_messages", "scrape_time"),
    ),
    ("queue_name", "queue_length"),
)
ASSET = RowKind(
    "assets",
    ("name", "description", "depends_on", "partitions", "tags", "io_manager", "code_version", "pool", "priority"),
    ("name", "depends_on", "partitions", "tags", "description"),
)
RECORD = RowKind(
    "records",
    (
        *("run_id", "run_key", "status", "asset", "partition", "attempt", "interruptions", "error", "reason"),
        *("retry_of", "started_at", "completed_at", "duration", "duration_ms"),
    ),
    ("run_id", "status", "asset", "partition", "attempt", "duration", "reason"),
)
LINEAGE = RowKind("lineage", ("asset", "partition", "depth"), ("asset", "partition", "depth"))
WHY = RowKind("why", ("kind", "id", "status", "reason", "stale"), ("kind", "id", "status", "reason", "stale"))
APPROVAL = RowKind(
    "approvals",
    (
        *("id", "asset", "partition", "run_id", "message", "context", "timeout", "on_timeout", "deadline"),
        *("escalations", "status", "by", "reason", "payload", "requested_at", "decided_at"),
    ),
    ("id", "status", "asset", "partition", "message", "context", "deadline"),
)
BACKFILL = RowKind(
    "backfills, newest first",
    (
        *("id", "asset", "status", "total", "succeeded", "failed", "skipped", "cancelled", "running", "pending"),
        *("max_parallel", "force", "started_by", "created_at", "completed_at"),
    ),
    ("id", "asset", "status", "total", "succeeded", "failed", "skipped", "running", "created_at"),
)
BACKFILL_PARTITION = RowKind(
    "partitions that failed",
    ("partition", "status", "run_id", "error", "completed_at"),
    ("partition", "run_id", "error"),
)
