"""Sensors whose source is the simulated world itself, so that it can tell whether each item arrived once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from flowstone.core.checks import check_int
from flowstone.core.keywords import checked_keywords
from flowstone.errors import ValidationError, shown
from flowstone.sensors.builtin.push import Push
from flowstone.sensors.sensor import Arrival, NoTrigger, Sensor, Trigger
from flowstone.testing.simulate.time import WorldTime

__all__ = ["Feed", "PushedFeed", "item_name"]


def item_name(number: int) -> str:
    """What item number `number` of a feed is called: its partition, and its key or message id."""
    return f"item-{number:05d}"


@checked_keywords
class Feed(Sensor):
    """A source where items appear at moments drawn from the seed; its state is how many it has seen.

    - `a_day` (6): how many items a day appear, on average
    - `looks_back` (0): how many items seen before are told of again in each poll, known by their keys

    Outside of a simulation nothing ever appears.

    Raises:
        ValidationError: an unknown keyword, or a number below 0.
    """

    def __init__(self, *, a_day: float = 6.0, looks_back: int = 0) -> None:
        check_int("looks_back", looks_back, minimum=0)
        _check_rate(a_day)
        self.a_day = a_day
        self.looks_back = looks_back
        self._time: WorldTime | None = None
        self._moments: Sequence[float] = ()

    def bind(self, time: WorldTime, moments: Sequence[float]) -> None:
        """Let items appear at these moments, in seconds since the beginning."""
        self._time, self._moments = time, moments

    def init(self) -> Any:
        """Nothing was seen."""
        return {"seen": 0}

    def poll(self, state: Any) -> Trigger | NoTrigger:
        """What appeared since `state`, and what appeared shortly before."""
        now = 0.0 if self._time is None else self._time.monotonic()
        there, seen = bisect_right(self._moments, now), state["seen"]
        items = [self._item(number) for number in range(max(0, seen - self.looks_back), there)]
        return Trigger(*items, state={"seen": there}) if items else NoTrigger()

    def _item(self, number: int) -> Arrival:
        name = item_name(number)
        return Arrival(name, key=name if self.looks_back else None, payload={"item": number})


@checked_keywords
class PushedFeed(Push):
    """A source that pushes its items, each again and again until it hears of success.

    - `a_day` (6): how many items a day, on average

    Raises:
        ValidationError: an unknown keyword, or a number below 0.
    """

    def __init__(self, *, a_day: float = 6.0) -> None:
        super().__init__(partition=_partition)
        _check_rate(a_day)
        self.a_day = a_day


def _check_rate(a_day: object) -> None:
    if isinstance(a_day, bool) or not isinstance(a_day, int | float) or not a_day >= 0:
        raise ValidationError(f"expected a_day to be a number from 0 up, got: {shown(a_day)}", option="a_day")


def _partition(message: Any) -> str:
    return item_name(message["item"])
