"""The tables of schedules: their definitions, and what became of each due instant."""

from peewee import BigAutoField, BigIntegerField, BooleanField, DoubleField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = ["Schedule", "Tick"]


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


Tick.add_index(Tick.schedule, Tick.id.desc(), name="tick_schedule_id")
Tick.add_index(Tick.schedule, Tick.until, name="tick_range", where=Tick.until.is_null(False))
Tick.add_index(Tick.schedule, Tick.scheduled_for, name="tick_ahead", where=Tick.manual)
