"""A sensor's surroundings within a runtime: its clock, the arrivals that it committed, the log of materializations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from flowstone.core.partitions import decode_partition
from flowstone.runs.services import Services
from flowstone.sensors.answers import arrival_key
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.surroundings import AssetEvent
from flowstone.state.connection import Connection
from flowstone.state.fields import instant

__all__ = ["Around"]

_AT_ONCE = 500
"""Keys asked for by one statement: SQLite takes some thousands of parameters."""

_LATE_IDS = 10_000
_LATE = timedelta(days=1)
# Where several connections write, an event may be committed after later ones: it is looked for among the newest.
_EVENTS = """
    select * from asset_event e where e.asset = :asset and e.id > :floor and (e.id > :after or e.at >= :since)
    and not exists (
        select 1 from arrival a where a.sensor = :sensor and a.key = :asset || ':' || cast(e.id as text)
    )
    order by e.id limit :most
"""
_LAST_EVENT = "select coalesce(max(id), 0) as last from asset_event where asset = :asset"


class Around:
    """The surroundings of one sensor; `wake` tells whoever polls it."""

    def __init__(self, services: Services, spec: SensorSpec, wake: Callable[[], None] = lambda: None) -> None:
        self._services = services
        self._spec = spec
        self._wake = wake

    def now(self) -> datetime:
        """The runtime's time."""
        return self._services.clock.now()

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the keys whose arrival this sensor has committed, and will still know after the next commit.

        Raises:
            StoreUnavailable: the store failed.
        """
        asked = {arrival_key(key): key for key in keys}
        if not asked:
            return frozenset()
        lookback = self._spec.sensor.lookback
        since = None if lookback is None else self.now() - timedelta(seconds=lookback / 2)

        def query(connection: Connection) -> list[str]:
            return [key for some in _in_parts(list(asked)) for key in _known(connection, self._spec.name, some, since)]

        return frozenset(asked[key] for key in self._services.database.read(query))

    def events(self, asset: str, after: int, limit: int, *, start: int = 0) -> list[AssetEvent] | None:
        """Materializations of an asset whose event this sensor has not committed.

        Raises:
            StoreUnavailable: the store failed.
        """
        parameters = {"asset": asset, "sensor": self._spec.name, "most": limit, "after": after}
        late = {"floor": max(start, after - _LATE_IDS), "since": self.now() - _LATE}
        rows = self._services.database.read(lambda connection: connection.execute(_EVENTS, {**parameters, **late}))
        return [
            AssetEvent(row.id, row.asset, decode_partition(row.partition), row.run_id, instant(row.at)) for row in rows
        ]

    def last_event(self, asset: str) -> int:
        """The id of an asset's newest materialization; 0 where there is none.

        Raises:
            StoreUnavailable: the store failed.
        """
        rows = self._services.database.read(lambda connection: connection.execute(_LAST_EVENT, asset=asset))
        return int(rows[0].last)

    def wake(self) -> None:
        """Ask for a poll before its time."""
        self._wake()


def _in_parts(keys: list[str]) -> list[list[str]]:
    return [keys[start:][:_AT_ONCE] for start in range(0, len(keys), _AT_ONCE)]


def _known(connection: Connection, sensor: str, keys: list[str], since: datetime | None) -> list[str]:
    names = ", ".join(f":k{number}" for number in range(len(keys)))
    fresh = "" if since is None else "at >= :since and "
    parameters: dict[str, Any] = {f"k{number}": key for number, key in enumerate(keys)}
    if since is not None:
        parameters["since"] = since
    sql = f"select key from arrival where sensor = :sensor and {fresh}key in ({names})"
    return [row.key for row in connection.execute(sql, parameters, sensor=sensor)]
