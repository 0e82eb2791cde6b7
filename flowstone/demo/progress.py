"""The demo's progress: bars on a terminal, a line a second elsewhere, nothing when nobody looks. Display only."""

import threading
from collections.abc import Iterator
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn

from flowstone.state.connection import Connection
from flowstone.state.database import Database

__all__ = ["Watch"]

PERIODS = {True: 0.2, False: 1.0}
COUNTS = """
    select (select coalesce(sum(request_count), 0) from evaluation where sensor = 'station') as arrived,
           (select count(*) from materialization where asset = 'day' and status = 'success') as days,
           (select count(distinct partition) from materialization
            where asset = 'month' and status = 'success') as months,
           (select count(*) from materialization where asset = 'report' and status = 'success') as reports
"""
ROWS = {
    "arrived": "files found by the sensor",
    "days": "days materialized",
    "months": "months summarised",
    "reports": "reports, one a second",
}


class Watch:
    """Shows what the store says, from a thread of its own, until it is left."""

    def __init__(self, store: str, *, days: int, months: int, live: bool) -> None:
        self._console = Console(quiet=not live)
        self._database = Database.open(store, exclusive=False)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-progress", daemon=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not (live and self._console.is_terminal),
        )
        totals = {"arrived": days, "days": days, "months": months, "reports": None}
        self._bars: dict[str, TaskID] = {
            name: self._progress.add_task(text, total=totals[name]) for name, text in ROWS.items()
        }

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        self._progress.console.print(text, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._left.set()
        self._thread.join()
        self._show()
        self._progress.stop()
        self._database.close()

    def _run(self) -> None:
        while not self._left.wait(PERIODS[self._console.is_terminal]):
            self._show()
            if not self._console.is_terminal:
                self.say(" · ".join(f"{name} {task.completed:,.0f}" for name, task in self._tasks()))

    def _tasks(self) -> Iterator[tuple[str, Task]]:
        return zip(self._bars, self._progress.tasks, strict=True)

    def _show(self) -> None:
        for name, count in self._database.read(_counts).items():
            self._progress.update(self._bars[name], completed=count)


def _counts(connection: Connection) -> dict[str, int]:
    return dict(connection.execute(COUNTS)[0])
