"""The tables of what is known about assets: who approved them, what they were made from, what is valid no more."""

from peewee import BigAutoField, BigIntegerField, CompositeKey, DoubleField, TextField

from flowstone.state.models.base import InstantField, JsonField, Table

__all__ = ["Approval", "Invalidation", "LineageEdge", "LineageLink"]


class Approval(Table):
    """A question that an asset of a run asks people, and what was decided."""

    id = BigAutoField()
    approval_id = TextField(unique=True)
    run_id = TextField(index=True)
    asset = TextField()
    partition = TextField()
    message = TextField()
    context = JsonField(null=True)
    timeout = DoubleField(null=True)
    on_timeout = TextField()
    deadline = InstantField(null=True)
    escalations = BigIntegerField()
    status = TextField()
    decided_by = TextField(null=True)
    reason = TextField(null=True)
    payload = JsonField(null=True)
    requested_at = InstantField()
    decided_at = InstantField(null=True)


class LineageEdge(Table):
    """What one run read to make an asset: a partition of another one, as which run had made it."""

    run_id = TextField()
    asset = TextField()
    partition = TextField()
    upstream_asset = TextField()
    upstream_partition = TextField()
    upstream_run_id = TextField(null=True)
    data_version = TextField(null=True)

    class Meta:
        """A key of four columns."""

        primary_key = CompositeKey("run_id", "asset", "upstream_asset", "upstream_partition")


class LineageLink(Table):
    """From what the newest value of an asset's partition was made: one row, however often it was made again."""

    asset = TextField()
    partition = TextField()
    upstream_asset = TextField()
    upstream_partition = TextField()

    class Meta:
        """A key of all columns."""

        primary_key = CompositeKey("asset", "partition", "upstream_asset", "upstream_partition")


class Invalidation(Table):
    """Somebody's word that the values of an asset's partition, up to an event, are not valid any more."""

    id = BigAutoField()
    asset = TextField()
    partition = TextField()
    event = BigIntegerField()
    actor = TextField()
    reason = TextField(null=True)
    at = InstantField()


Approval.add_index(Approval.deadline, name="approval_open", where=Approval.status == "pending")
LineageLink.add_index(LineageLink.upstream_asset, LineageLink.upstream_partition, name="lineage_link_upstream")
Invalidation.add_index(
    Invalidation.asset, Invalidation.partition, Invalidation.event, name="invalidation_asset_partition"
)
