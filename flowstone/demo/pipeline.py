"""The demo's pipeline: what a user of FlowStone would write to turn arriving files into a report.

    folder --station--> day --grown_months--> month        climate --> report
           (sensor)            (sensor)                    (schedule, each second)
"""

from calendar import monthrange
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import flowstone as fs
from flowstone.demo.weather import Day, Month, normals
from flowstone.sensors import FileArrival

__all__ = ["GrownMonths", "Values", "weather"]

PATTERN = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].csv"
EARLIEST = "0001-01-01"


class Values(Protocol):
    """What is stored already: the assets of the demo read each other's partitions through this."""

    def partitions(self, asset: str) -> list[date]:
        """The partitions of an asset that have a value."""

    def find(self, asset: str, partition: date) -> Any:
        """The value of one partition; None when there is none."""


class GrownMonths(fs.Sensor):
    """Finds the months of which more days are stored than when it last looked."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def init(self) -> dict[str, int]:
        """No days of no month."""
        return {}

    def poll(self, state: dict[str, int]) -> fs.Trigger | fs.NoTrigger:
        """One partition for each month that grew; the state counts the days of each month."""
        days = Counter(f"{day:%Y-%m}-01" for day in self.values.partitions("day"))
        grown = sorted(month for month, count in days.items() if count > state.get(month, 0))
        return fs.Trigger(*grown, state=dict(days)) if grown else fs.NoTrigger()


def weather(folder: Path, values: Values, *, read: Callable[[Path], Day] = Day.read) -> fs.Pipeline:
    """The pipeline over a folder of daily files; `read` makes a day of a file."""
    pipeline = fs.Pipeline("weather")

    @pipeline.asset(partitions=fs.Daily(start=EARLIEST))
    def day(context: fs.Context) -> Day:
        """One day, as the station recorded it."""
        return read(folder / f"{context.partition}.csv")

    @pipeline.asset(partitions=fs.Monthly(start=EARLIEST))
    def month(context: fs.Context) -> Month:
        """What the days of one month come to."""
        first = context.partition
        assert isinstance(first, date)
        numbers = range(1, monthrange(first.year, first.month)[1] + 1)
        found = (values.find("day", first.replace(day=number)) for number in numbers)
        return Month.of([day for day in found if day is not None])

    @pipeline.asset
    def climate(context: fs.Context) -> dict[date, Month]:
        """All months that there are, oldest first."""
        return {first: values.find("month", first) for first in sorted(values.partitions("month"))}

    @pipeline.asset
    def report(context: fs.Context, climate: dict[date, Month]) -> dict[str, Any]:
        """The year as it usually is."""
        return {"months": len(climate), "days": sum(m.days for m in climate.values()), "normals": normals(climate)}

    pipeline.sensor("station", FileArrival(path=folder, pattern=PATTERN), every="250ms", target="day")
    pipeline.sensor("grown_months", GrownMonths(values), every="1s", target="month")
    pipeline.schedule("each_second", every="1s", target="+report")
    return pipeline
