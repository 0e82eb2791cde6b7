"""The tables of backfills: what was asked for, and what became of each of its partitions."""

from peewee import BigAutoField, BigIntegerField, BooleanField, TextField

from flowstone.state.models.base import InstantField, Table

__all__ = ["Backfill", "BackfillPartition"]


class Backfill(Table):
    """An asset or selection that is to be made for many partitions."""

    id = BigAutoField()
    backfill_id = TextField(unique=True)
    asset = TextField()
    status = TextField()
    max_parallel = BigIntegerField()
    force = BooleanField()
    fingerprint = TextField()
    started_by = TextField()
    created_at = InstantField()
    completed_at = InstantField(null=True)


class BackfillPartition(Table):
    """One partition of a backfill: its newest run, and what came of it."""

    id = BigAutoField()
    backfill_id = TextField()
    partition = TextField()
    status = TextField()
    run_id = TextField(null=True)
    retry_of = TextField(null=True)
    error = TextField(null=True)
    completed_at = InstantField(null=True)

    class Meta:
        """A partition once in each backfill."""

        indexes = ((("backfill_id", "partition"), True),)


Backfill.add_index(
    Backfill.status, name="backfill_open", where=(Backfill.status == "running") | (Backfill.status == "paused")
)
BackfillPartition.add_index(
    BackfillPartition.backfill_id,
    BackfillPartition.status,
    BackfillPartition.id,
    name="backfill_partition_status",
)
