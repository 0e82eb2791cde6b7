"""The weather that the demo works on: four years of Seattle, shipped with FlowStone, handed out as one file a day.

Source and licence stand beside the data, in `data/SOURCE.md`.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Self

from flowstone.errors import ValidationError

__all__ = ["Day", "Month", "Station", "normals", "seattle"]

HEADER = ("date", "precipitation", "temp_max", "temp_min", "wind", "weather")


@dataclass(frozen=True, slots=True)
class Day:
    """One day: millimetres of rain, degrees Celsius, metres per second."""

    date: date
    precipitation: float
    temp_max: float
    temp_min: float
    wind: float
    weather: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """The day of one daily file.

        Raises:
            ValidationError: the file has not one row under the header of the shipped data.
        """
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
        if len(rows) != 1 or not set(HEADER) <= set(rows[0]):
            expected = f"one row under {','.join(HEADER)}"
            raise ValidationError(f"expected {path.name} to have {expected}, got {len(rows)} rows")
        return cls.of(rows[0])

    @classmethod
    def of(cls, row: dict[str, str]) -> Self:
        """The day of one row of the table."""
        return cls(
            date=date.fromisoformat(row["date"].replace("/", "-")),
            precipitation=float(row["precipitation"]),
            temp_max=float(row["temp_max"]),
            temp_min=float(row["temp_min"]),
            wind=float(row["wind"]),
            weather=row["weather"],
        )

    def text(self) -> str:
        """The content of this day's file."""
        out = io.StringIO()
        writer = csv.DictWriter(out, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerow(asdict(self))
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class Month:
    """What the days of one month, or of one month of several years, come to."""

    days: int
    temp_max: float
    temp_min: float
    precipitation: float
    wet_days: int

    @classmethod
    def of(cls, days: list[Day]) -> Self:
        """The summary of one or more days: mean temperatures, summed rain, days with at least 1 mm of it."""
        count = len(days)
        return cls(
            days=count,
            temp_max=round(sum(day.temp_max for day in days) / count, 2),
            temp_min=round(sum(day.temp_min for day in days) / count, 2),
            precipitation=round(sum(day.precipitation for day in days), 1),
            wet_days=sum(day.precipitation >= 1 for day in days),
        )


def normals(months: dict[date, Month]) -> list[dict[str, Any]]:
    """For each month of the year that is there: means over the years, rain and wet days as means of a month's sum."""
    rows = []
    for number in range(1, 13):
        same = [month for first, month in months.items() if first.month == number]
        if same:
            rows.append(
                {
                    "month": number,
                    "years": len(same),
                    "days": sum(month.days for month in same),
                    "temp_max": sum(month.temp_max for month in same) / len(same),
                    "temp_min": sum(month.temp_min for month in same) / len(same),
                    "precipitation": sum(month.precipitation for month in same) / len(same),
                    "wet_days": sum(month.wet_days for month in same) / len(same),
                }
            )
    return rows


def seattle() -> list[Day]:
    """The shipped days, oldest first: 1,461 of them."""
    text = resources.files("flowstone.demo").joinpath("data/seattle-weather.csv").read_text("utf-8")
    return [Day.of(row) for row in csv.DictReader(text.splitlines())]


class Station:
    """A weather station that leaves one file a day in a folder; each appears whole, by an atomic rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self) -> list[Day]:
        """The shipped days that have not arrived yet.

        Empty when the folder holds files of the user's own: then nothing of ours is mixed in.
        """
        shipped = {f"{day.date}.csv": day for day in seattle()}
        there = {path.name: path for path in self.folder.glob("*.csv")}
        ours = all(name in shipped and path.read_text("utf-8") == shipped[name].text() for name, path in there.items())
        return [day for name, day in shipped.items() if name not in there] if ours else []

    def deliver(self, days: list[Day], pause: Callable[[int], object]) -> Iterator[Day]:
        """Leaves one file after another, calling `pause` with its number before; yields each day as it has arrived."""
        for number, day in enumerate(days):
            pause(number)
            hidden = self.folder / f".{day.date}.part"
            hidden.write_text(day.text(), "utf-8")
            hidden.rename(self.folder / f"{day.date}.csv")
            yield day
