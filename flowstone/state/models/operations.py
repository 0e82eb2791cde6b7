"""The tables of operations: nodes, who did what, and the steps of migration."""

from peewee import BigAutoField, BigIntegerField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = ["Audit", "Node", "SchemaVersion"]


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


Audit.add_index(Audit.resource, Audit.id.desc(), name="audit_resource_id")
