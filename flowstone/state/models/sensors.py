"""The tables of sensors: their definitions and state, what they saw, and what is to be delivered."""

from peewee import BigAutoField, BigIntegerField, BooleanField, CompositeKey, DoubleField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = ["Arrival", "Evaluation", "Outbox", "Sensor"]


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


Evaluation.add_index(
    Evaluation.eval_key,
    unique=True,
    name="evaluation_settled",
    where=Evaluation.status.in_(["triggered", "no_trigger"]),
)
Evaluation.add_index(Evaluation.sensor, Evaluation.id.desc(), name="evaluation_sensor_id")
Outbox.add_index(Outbox.status, Outbox.next_at, name="outbox_status_next")
Outbox.add_index(Outbox.sensor, Outbox.id.desc(), name="outbox_sensor_id")
