"""Lineage as values: what an attempt read, and the nodes that a walk finds."""

from __future__ import annotations

from dataclasses import dataclass

from flowstone.core.partitions import Partition

__all__ = ["Input", "LineageNode", "Place"]

Place = tuple[str, str]
"""An asset and a partition in its stored form."""


@dataclass(frozen=True, slots=True)
class Input:
    """What an attempt read: a value of another asset, the run that had made it, and its data version.

    The partition is in its stored form; `run_id` is None for a value that no run of ours has made.
    """

    asset: str
    partition: str
    run_id: str | None = None
    data_version: str | None = None


@dataclass(frozen=True, slots=True)
class LineageNode:
    """An asset's partition that has to do with another one, over `depth` steps at least."""

    asset: str
    partition: Partition
    depth: int
