"""The tables of operations: nodes, who did what, and the steps of migration."""

from peewee import BigAutoField, BigIntegerField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = ["Audit", "Cluster", "Node", "SchemaVersion"]


class Node(Table):
    """One start of a runtime on this store, until it ended, or was taken for dead; `session` names its connection."""

    number = BigAutoField()
    boot = TextField()
    name = TextField()
    pid = BigIntegerField()
    host = TextField()
    session = TextField(null=True)
    started_at = InstantField()
    heartbeat_at = InstantField()
    ended_at = InstantField(null=True)
    reason = TextField(null=True)
    offers = JsonField()
    settled = BigIntegerField()


class Cluster(Table):
    """How often the nodes, or what they offer, have changed."""

    name = TextField(primary_key=True)
    epoch = BigIntegerField()


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


Node.add_index(Node.boot, unique=True, name="node_boot")
Node.add_index(Node.number, name="node_living", where=Node.ended_at.is_null())
Audit.add_index(Audit.resource, Audit.id.desc(), name="audit_resource_id")
