"""Which partition a text on the command line means.

The partition sets of what it is about read it. Where they have no say, it is what the store holds under this text: the
day `2025-01-15`, the number `i:42`, the tuple `2025-01-15|eu`, else the text itself. Who looks for rows may also write
what rows show, as in `42`: then the first reading counts for which there are some.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from flowstone.cli.loading import load_pipeline
from flowstone.cli.settings import Settings
from flowstone.core.catalog import Catalog
from flowstone.core.partitions import Partition, decode_partition
from flowstone.errors import PartitionError, ValidationError, shown
from flowstone.groups import Groups

__all__ = ["Reader", "found", "readings"]

_TAGGED = re.compile(r"(b|d|dt|i|ndt|s|t):")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,99}")
RANGE = ".."

Rows = Callable[[Partition], Sequence[object]]


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads texts by the partition sets of a pipeline; `at`, a client or a runtime, knows the keys of dynamic ones."""

    at: Groups
    catalog: Catalog

    @classmethod
    def of(cls, at: Groups, settings: Settings) -> Self:
        """The reader of the pipeline that these settings name, or of none."""
        return cls(at, Catalog(load_pipeline(settings).assets if settings.config.app else ()))

    def meant(self, selection: str, text: str | None) -> Partition:
        """The partition that a text means for an asset or a selection.

        Raises:
            AssetNotFound, PartitionError: there is no such asset, or the text is none of its partitions.
        """
        if text is None:
            return None
        if self.catalog.partition_set(selection) is None:
            read = self.at.partition_of(selection, text)
            return readings(text)[0] if read == text else read
        try:
            return self.at.partition_of(selection, text)
        except PartitionError as refused:
            try:
                return self.at.partition_of(selection, readings(text)[0])
            except PartitionError:
                raise refused from None

    def asked(self, selection: str, text: str) -> str | list[Partition]:
        """The partitions of a backfill: a range as it is, else keys with commas between.

        Raises:
            AssetNotFound, PartitionError: there is no such asset, or a text is none of its partitions.
            ValidationError: there is nothing before or after a comma.
        """
        keys = text.split(",")
        if len(keys) == 1 and RANGE in text:
            return text
        if len(keys) > 1 and "" in keys:
            raise ValidationError(f"expected keys with commas between, got nothing before or after one: {shown(text)}")
        return [self.meant(selection, key) for key in keys]

    def made(self, asset: str, text: str | None) -> Partition:
        """The partition of an asset that a text means, by what the store tells of its materializations.

        Raises:
            AssetNotFound, PartitionError: there is no such asset, or the text is none of its partitions.
        """
        self.catalog.asset(asset)
        return self.looked_for(asset, text, lambda read: self.at.materializations.list(asset=asset, partition=read))

    def looked_for(self, asset: str, text: str | None, rows: Rows) -> Partition:
        """The partition of an asset that a text means to somebody who has seen its rows, such as `rows` finds.

        Raises:
            PartitionError: the text is none of its partitions.
        """
        if asset not in self.catalog.assets:
            return found(text, rows)
        first = self.meant(asset, text)
        if text is None or self.catalog.partition_set(asset) is not None:
            return first
        return _first((first, *readings(text)), rows)


def found(text: str | None, rows: Rows) -> Partition:
    """The first reading of a text for which there are rows; where there are none, the first.

    Raises:
        PartitionError: it begins as the store's own form does, and is none.
    """
    return None if text is None else _first(readings(text), rows)


def readings(text: str) -> tuple[Partition, ...]:
    """What a text may stand for: what the store holds under it, the text itself, the number that it is written as.

    Raises:
        PartitionError: it begins as the store's own form does, and is none.

    >>> readings("2025-01-15"), readings("eu"), readings("42")
    ((datetime.date(2025, 1, 15), '2025-01-15'), ('eu',), ('42', 42))
    """
    try:
        held = decode_partition(text)
    except PartitionError:
        if _TAGGED.match(text):
            raise
        held = text
    number = (int(text),) if _INTEGER.fullmatch(text) else ()
    return tuple(dict.fromkeys((held, text))) + number


def _first(meanings: tuple[Partition, ...], rows: Rows) -> Partition:
    """The first for which there are rows; else the first that may have some, and none that a partition set refuses."""
    legal, refused = [], []
    for partition in meanings:
        try:
            if rows(partition):
                return partition
            legal.append(partition)
        except PartitionError as error:
            refused.append(error)
    if not legal:
        raise refused[0]
    return legal[0]
