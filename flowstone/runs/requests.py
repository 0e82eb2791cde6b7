"""Run requests, resolved: what would run, for which partition, under which key. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowstone.core.catalog import Catalog
from flowstone.core.dedupe import FOREVER, Dedupe
from flowstone.core.partitions import Partition, encode_partition
from flowstone.core.run import RunRequest, Source
from flowstone.core.run_key import bounded, fingerprint

__all__ = ["ResolvedRequest", "resolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRequest:
    """A request whose selection and partition were checked; `partition` is in its stored form.

    `patient` is set when nobody waits for the run: a dependency that is not there yet then only delays it. One that is
    `behind` starts after the earlier runs of its source have ended. `dedupe` says when a taken key is free again.
    `retry_of` is the run that it repeats.
    """

    run_key: str
    asset: str
    selection: tuple[str, ...]
    partition: str
    fingerprint: str
    source: Source
    code_versions: Mapping[str, str | None] = field(default_factory=dict)
    payload: Any = None
    tags: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    force: bool = False
    io_manager: str | None = None
    patient: bool = True
    behind: bool = False
    dedupe: Dedupe = FOREVER
    retry_of: str | None = None


def resolve(
    catalog: Catalog,
    request: RunRequest,
    *,
    default_key: str,
    source: Source,
    payload: Any = None,
    force: bool = False,
    io_manager: str | None = None,
    patient: bool = True,
    dedupe: Dedupe = FOREVER,
    retry_of: str | None = None,
) -> ResolvedRequest:
    """What `request` means for this catalog; without a key of its own it gets `default_key`.

    Raises:
        AssetNotFound: the selection names an unknown asset.
        PartitionError: the partition is of no legal type, or not held by the partition set of an asset selected.
    """
    selection = catalog.select(request.asset)
    partition: Partition = catalog.read_partition(request.asset, request.partition)
    encoded = encode_partition(partition)
    return ResolvedRequest(
        run_key=request.run_key if request.run_key is not None else bounded(default_key),
        asset=request.asset if len(selection) > 1 else selection[0],
        selection=selection,
        partition=encoded,
        fingerprint=fingerprint(selection, (partition,)),
        source=source,
        code_versions={name: catalog.assets[name].code_version for name in selection},
        payload=payload,
        tags=dict(request.tags or {}),
        priority=request.priority or max(catalog.assets[name].priority for name in selection),
        force=force,
        io_manager=io_manager,
        patient=patient,
        dedupe=dedupe,
        retry_of=retry_of,
    )
