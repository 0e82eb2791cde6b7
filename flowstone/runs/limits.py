"""Limits on what executes at once: attempts at one asset, and at the assets of one pool, over all runs of the store.

An attempt takes its slots in the transaction that starts it, and gives them back in the one that ends it: the rows of
running attempts are the account. Two transactions of two processes take slots one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from flowstone.core.catalog import Catalog
from flowstone.core.checks import check_int
from flowstone.errors import ValidationError, did_you_mean
from flowstone.state.connection import Connection

__all__ = ["UNSIZED", "Limit", "Limits", "Slots"]

UNSIZED = 1
"""Attempts that execute at once in a pool that nobody gave a size."""

_RUNNING = "select asset, count(*) as n from materialization where status = 'running' group by asset"
# No row stands for "nobody runs": what two processes must not count at once is guarded by a lock of its own.
_ALONE = "select pg_advisory_xact_lock(hashtext('flowstone.slots:' || current_schema()))"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `size` attempts at these assets execute at once."""

    name: str
    size: int
    assets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that each asset is under; most are under none."""

    of_asset: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, catalog: Catalog, pools: Mapping[str, int]) -> Self:
        """The limits of the assets of a catalog, with the sizes of their pools; a pool without one holds `UNSIZED`.

        Raises:
            ValidationError: a size is no int of at least 1, or is that of a pool which no asset is in.
        """
        members: dict[str, set[str]] = {}
        for asset in catalog.assets.values():
            if asset.pool is not None:
                members.setdefault(asset.pool, set()).add(asset.name)
        for pool, size in pools.items():
            check_int(f"pools[{pool!r}]", size, minimum=1)
            if pool not in members:
                hint = did_you_mean(pool, members)
                raise ValidationError(f"expected pools to name pools of assets, got: {pool!r}{hint}")
        found: dict[str, list[Limit]] = {}
        for name, assets in members.items():
            for asset_name in assets:
                limit = Limit(f"pool {name}", pools.get(name, UNSIZED), frozenset(assets))
                found.setdefault(asset_name, []).append(limit)
        for asset in catalog.assets.values():
            if asset.concurrency is not None:
                limit = Limit(f"asset {asset.name}", asset.concurrency, frozenset({asset.name}))
                found.setdefault(asset.name, []).append(limit)
        return cls({name: tuple(limits) for name, limits in found.items()})

    def concern(self, assets: Iterable[str]) -> bool:
        """Whether one of these assets is under a limit."""
        return bool(self.of_asset) and any(asset in self.of_asset for asset in assets)


class Slots:
    """What is free under the limits, within one transaction; it is counted when it is first asked for.

    Who only looks, and takes none (`taking`), keeps nobody else from taking them meanwhile.
    """

    def __init__(self, connection: Connection, limits: Limits, *, taking: bool = True) -> None:
        self.limits = limits
        self.connection = connection
        self._taking = taking
        self._running: Counter[str] | None = None

    def full(self, asset: str) -> Limit | None:
        """The limit that keeps an attempt at this asset from starting, or None."""
        of_asset = self.limits.of_asset.get(asset, ())
        if not of_asset:
            return None
        return next((limit for limit in of_asset if self.used(limit) >= limit.size), None)

    def used(self, limit: Limit) -> int:
        """How many attempts under this limit execute."""
        running = self._counted()
        return sum(running[name] for name in limit.assets)

    def take(self, asset: str) -> bool:
        """Whether an attempt at this asset may start; it has its slots then."""
        if asset not in self.limits.of_asset:
            return True
        if self.full(asset) is not None:
            return False
        self._counted()[asset] += 1
        return True

    def _counted(self) -> Counter[str]:
        if self._running is None:
            if self._taking and self.connection.dialect == "postgresql":
                self.connection.execute(_ALONE)
            self._running = Counter({row.asset: row.n for row in self.connection.execute(_RUNNING)})
        return self._running
