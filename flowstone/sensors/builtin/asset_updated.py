"""The sensor of another asset: each of its materializations, in order, once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from flowstone.core.asset import Asset
from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.errors import ValidationError, did_you_mean, shown
from flowstone.sensors.sensor import Answer, Arrival, NoTrigger, PollError, Sensor, Trigger
from flowstone.sensors.surroundings import ALONE, AssetEvent, Surroundings

__all__ = ["AssetUpdated"]

EXISTING = ("trigger", "ignore")
MOST = 1000
"""Materializations that one poll answers; the rest is taken at once by the next."""

WEEK = 7 * 86_400.0


@checked_keywords
class AssetUpdated(Sensor):
    """Triggers once for each materialization of an asset, in the order of the store's log; none is left out.

    - `asset`: its name, or the asset itself; it may be one of another pipeline on the same store
    - `existing` ("trigger"): what the log holds when the sensor starts triggers too; "ignore" lets it count as seen
    - `partition` (None): a function of the asset's partition; the default is that partition

    Each sensor has an offset of its own. The payload is `asset`, `run_id`, and `at`, the instant in ISO 8601.

    Raises:
        ValidationError: an unknown keyword, or a bad option.
    """

    lookback = WEEK

    def __init__(
        self,
        asset: str | Asset,
        *,
        existing: str = "trigger",
        partition: Callable[[Partition], Partition] | None = None,
    ) -> None:
        name: object = asset.name if isinstance(asset, Asset) else asset
        if not isinstance(name, str) or not name.strip():
            raise ValidationError(f"expected asset to be an asset or its name, got: {shown(asset)}", option="asset")
        if existing not in EXISTING:
            hint = did_you_mean(str(existing), EXISTING)
            message = f"expected existing to be 'trigger' or 'ignore', got: {shown(existing)}{hint}"
            raise ValidationError(message, option="existing")
        if partition is not None and not callable(partition):
            raise ValidationError(f"expected partition to be callable, got: {shown(partition)}", option="partition")
        self.asset, self.existing, self.partition = name, existing, partition
        self._around: Surroundings = ALONE

    def within(self, surroundings: Surroundings) -> AssetUpdated:
        """This sensor, able to read the log."""
        copied = copy.copy(self)
        copied._around = surroundings
        return copied

    def init(self) -> dict[str, Any]:
        """The state before the first poll: the log's beginning, or its end."""
        last = 0
        if self.existing == "ignore":
            last = self._around.last_event(self.asset)
        return {"asset": self.asset, "offset": last, "start": last}

    def poll(self, state: dict[str, Any]) -> Answer:
        """The materializations past the offset.

        Raises:
            PollError: there is no store, that is, no runtime.
        """
        if state.get("asset") != self.asset:
            state = self.init()
        events = self._around.events(self.asset, state["offset"], MOST, start=state.get("start", state["offset"]))
        if events is None:
            raise PollError("the log of materializations is in the store: poll within a runtime", code="no_store")
        if not events:
            return NoTrigger(state=state)
        following = {**state, "offset": max(state["offset"], events[-1].id)}
        return Trigger(*map(self._arrival, events), state=following, again=len(events) == MOST)

    def _arrival(self, event: AssetEvent) -> Arrival:
        partition = event.partition if self.partition is None else self.partition(event.partition)
        payload = {"asset": event.asset, "run_id": event.run_id, "at": event.at.isoformat()}
        return Arrival(partition, key=f"{event.asset}:{event.id}", payload=payload)
