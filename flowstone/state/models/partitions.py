"""The table of partitions that are added while a program runs."""

from peewee import BigAutoField, TextField

from flowstone.state.models.base import InstantField, Table

__all__ = ["DynamicPartition"]


class DynamicPartition(Table):
    """A key of a dynamic partition set; one that was removed stays as a row, and counts no more."""

    id = BigAutoField()
    name = TextField()
    key = TextField()
    added_by = TextField()
    added_at = InstantField()
    removed_by = TextField(null=True)
    removed_at = InstantField(null=True)


DynamicPartition.add_index(
    DynamicPartition.name,
    DynamicPartition.key,
    unique=True,
    name="dynamic_partition_key",
    where=DynamicPartition.removed_at.is_null(),
)
