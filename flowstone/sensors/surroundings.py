"""What a sensor may know of the runtime that it lives in, beyond its own state.

A sensor that is polled by hand, without a runtime, is alone: it has a clock and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from flowstone.core.partitions import Partition

__all__ = ["ALONE", "AssetEvent", "Surroundings"]


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """One materialization of an asset, in the order in which the log has them."""

    id: int
    asset: str
    partition: Partition
    run_id: str
    at: datetime


class Surroundings(Protocol):
    """Handed to `Sensor.within`; every call but `wake` may wait for the store, so none is for an actor."""

    def now(self) -> datetime:
        """The runtime's time, aware, in UTC."""

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the keys whose arrival this sensor has committed.

        A key that is about to be forgotten is left out: to see it once more keeps it known.
        """

    def events(self, asset: str, after: int, limit: int, *, start: int = 0) -> list[AssetEvent] | None:
        """Materializations of an asset whose event this sensor has not committed; None without a store.

        In the log's order: those past `after`, and others past `start` that were committed late.
        """

    def last_event(self, asset: str) -> int:
        """The id of an asset's newest materialization; 0 where there is none."""

    def wake(self) -> None:
        """Ask for a poll before its time; from any thread, and harmless when nobody polls."""


class Alone:
    """The surroundings of a sensor without a runtime."""

    def now(self) -> datetime:
        """The computer's time."""
        return datetime.now(UTC)

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """None: nothing was committed."""
        return frozenset()

    def events(self, asset: str, after: int, limit: int, *, start: int = 0) -> list[AssetEvent] | None:
        """None: there is no store."""
        return None

    def last_event(self, asset: str) -> int:
        """None."""
        return 0

    def wake(self) -> None:
        """Nothing: nobody polls."""


ALONE: Surroundings = Alone()
