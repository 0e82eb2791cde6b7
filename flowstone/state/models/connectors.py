"""The tables of connectors: queues, tasks that the database keeps, and what became of each event."""

from peewee import BigAutoField, BigIntegerField, BooleanField, CompositeKey, DoubleField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = [
    "DeadLetter",
    "EventAttempt",
    "EventLog",
    "Queue",
    "QueueArchive",
    "QueueMessage",
    "ScheduledTaskInstant",
    "ScheduledTasks",
    "TaskKeeper",
]


class Queue(Table):
    """A queue; `sent` counts its messages on SQLite, PostgreSQL has a sequence for each queue."""

    name = TextField(primary_key=True)
    kind = TextField()
    sent = BigIntegerField()
    created_at = InstantField()


class QueueMessage(Table):
    """A message that waits, or is in a reader's hand until `vt`."""

    queue = TextField()
    msg_id = BigIntegerField()
    read_ct = BigIntegerField()
    enqueued_at = InstantField()
    last_read_at = InstantField(null=True)
    vt = InstantField()
    message = JsonField()
    headers = JsonField(null=True)

    class Meta:
        """A key of two columns."""

        primary_key = CompositeKey("queue", "msg_id")


class QueueArchive(Table):
    """A message that was done with, and kept."""

    queue = TextField()
    msg_id = BigIntegerField()
    read_ct = BigIntegerField()
    enqueued_at = InstantField()
    last_read_at = InstantField(null=True)
    archived_at = InstantField()
    vt = InstantField()
    message = JsonField()
    headers = JsonField(null=True)

    class Meta:
        """A key of two columns."""

        primary_key = CompositeKey("queue", "msg_id")


class ScheduledTasks(Table):
    """A task that emits an event at its instants, and up to which one that has been seen to; people may write it."""

    name = TextField(primary_key=True)
    cron_expression = TextField()
    event_type = TextField()
    payload = JsonField()
    timezone = TextField()
    enabled = BooleanField()
    updated_at = InstantField(null=True)
    accounted_until = InstantField(null=True)
    timing = TextField(null=True)


class ScheduledTaskInstant(Table):
    """An instant ahead at which the database itself fires a task; computed by whichever process of ours runs."""

    task = TextField()
    at = InstantField()

    class Meta:
        """A key of two columns."""

        primary_key = CompositeKey("task", "at")


class TaskKeeper(Table):
    """A job of the database itself that fires tasks, and when it last ran."""

    job = TextField(primary_key=True)
    at = InstantField()


class EventLog(Table):
    """An event that was emitted; never changed."""

    id = BigAutoField()
    event_id = TextField(unique=True)
    event_type = TextField()
    task = TextField(null=True)
    payload = JsonField()
    scheduled_for = InstantField(null=True)
    at = InstantField()


class EventAttempt(Table):
    """What came of handing an event to its handler once; never changed."""

    id = BigAutoField()
    event_id = TextField()
    attempt = BigIntegerField()
    result = TextField()
    error = TextField(null=True)
    duration = DoubleField(null=True)
    at = InstantField()


class DeadLetter(Table):
    """An event that nobody could handle, until it is queued again."""

    id = TextField(primary_key=True)
    event_type = TextField()
    payload = JsonField()
    error = TextField()
    deliveries = BigIntegerField()
    at = InstantField()


QueueMessage.add_index(QueueMessage.queue, QueueMessage.vt, QueueMessage.msg_id, name="queue_message_visible")
EventLog.add_index(EventLog.task, EventLog.id.desc(), name="event_log_task_id")
EventAttempt.add_index(EventAttempt.event_id, EventAttempt.id.desc(), name="event_attempt_event_id")
