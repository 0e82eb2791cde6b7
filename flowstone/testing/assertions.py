"""Assertions about what a runtime has asked for and made; one that fails shows the near misses, the nearest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowstone.core.partitions import Partition
from flowstone.errors import AssetNotFound, ValidationError
from flowstone.runtime import Runtime

__all__ = ["assert_enqueued", "assert_materialized", "refute_enqueued"]

ANY: Any = object()
SHOWN = 10


def assert_enqueued(runtime: Runtime, asset: str, *, partition: Partition = ANY, run_key: str | None = None) -> None:
    """Assert that a run of this asset was asked for, by its name or by a selection that has it, whatever became of it.

    Raises:
        AssertionError: there is none; the message lists the runs that come nearest.
        AssetNotFound: there is no such asset, so that no run of it can be.
    """
    if not _runs(runtime, asset, partition, run_key):
        nearest = _listed("nearest runs", _nearest(runtime, asset, partition, run_key))
        raise AssertionError(f"expected a run of {_described(asset, partition, run_key=run_key)}; {nearest}")


def refute_enqueued(runtime: Runtime, asset: str, *, partition: Partition = ANY, run_key: str | None = None) -> None:
    """Assert that no run of this asset was asked for, neither by its name nor by a selection that has it.

    Raises:
        AssertionError: there is one; the message lists them.
        AssetNotFound: there is no such asset, so that this would hold whatever the pipeline does.
    """
    found = _runs(runtime, asset, partition, run_key)
    if found:
        wanted = _described(asset, partition, run_key=run_key)
        raise AssertionError(f"expected no run of {wanted}; {_listed('runs', found)}")


def assert_materialized(
    runtime: Runtime, asset: str, *, partition: Partition = ANY, status: str = "success"
) -> None:
    """Assert that an asset was made, for a partition, with this status.

    Raises:
        AssertionError: it was not; the message lists the asset's rows.
        AssetNotFound: there is no such asset.
    """
    runtime.assets_of(asset)
    rows = runtime.materializations.list(asset=asset)
    if not any(row.status == status and _same(runtime, asset, partition, row.partition) for row in rows):
        wanted = _described(asset, partition, status=status)
        raise AssertionError(f"expected a materialization of {wanted}; {_listed('rows of it', rows)}")


def _runs(runtime: Runtime, asset: str, partition: Partition, run_key: str | None) -> list[Any]:
    wanted = set(runtime.assets_of(asset))
    return [
        row
        for row in runtime.runs.list(limit=1_000_000)
        if run_key in (None, row.run_key)
        and (row.asset == asset or wanted <= _assets_of(runtime, row.asset))
        and _same(runtime, asset, partition, row.partition)
    ]


def _assets_of(runtime: Runtime, selection: str) -> set[str]:
    """The assets that a run was asked for; none where the pipeline does not know them any more."""
    try:
        return set(runtime.assets_of(selection))
    except (AssetNotFound, ValidationError):
        return set()


def _nearest(runtime: Runtime, asset: str, partition: Partition, run_key: str | None) -> list[Any]:
    """All runs, those first that have most of what was wanted; the newest first among equals."""
    wanted = partition if partition is ANY else runtime.partition_of(asset, partition)

    def misses(row: Any) -> tuple[bool, int]:
        return row.asset != asset, (row.partition != wanted) + (row.run_key != run_key)

    return sorted(runtime.runs.list(limit=1_000_000), key=misses)


def _same(runtime: Runtime, asset: str, wanted: Partition, found: Partition) -> bool:
    return wanted is ANY or runtime.partition_of(asset, wanted) == found


def _described(asset: str, partition: Partition, **more: object) -> str:
    given = {} if partition is ANY else {"partition": partition}
    named = {**given, **{name: value for name, value in more.items() if value is not None}}
    return f"{asset!r} {', '.join(f'{name}={value!r}' for name, value in named.items())}".strip()


def _listed(what: str, rows: Iterable[Any]) -> str:
    shown = [f"  {_shown(row)}" for row in list(rows)[:SHOWN]]
    return f"the {what}:\n" + "\n".join(shown) if shown else f"there are no {what}"


def _shown(row: Any) -> str:
    key = f" run_key={row.run_key!r}" if hasattr(row, "run_key") else ""
    return f"{row.asset} partition={row.partition!r}{key} {row.status}"
