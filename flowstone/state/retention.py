"""Retention: pruning of what is over, in small batches from the oldest rows on.

What of a history may go is said by the room that owns it, as a condition for what must stay: never what a live dedupe,
a cursor or an unfinished run needs. A batch is one short transaction, so that a service that runs beside it waits for
milliseconds at most, and a pruning that is ended half way has done half of its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self

from flowstone.core.dedupe import Dedupe, DedupeMode
from flowstone.errors import ValidationError
from flowstone.state.connection import Connection
from flowstone.state.database import Database

__all__ = ["BATCH", "SHORTEST", "Age", "History", "Rows", "Step", "prune", "rows_between"]

BATCH = 500
"""Rows that one transaction looks at."""

SHORTEST = 3600.0
"""Seconds that history is kept at least: whoever lost the answer to a commit has to find its own work done."""

_DEDUPES = "select dedupe from schedule union select dedupe from sensor"


@dataclass(frozen=True, slots=True)
class Age:
    """What counts as old: `before` for rows as such, `windows` for those by which something may still be deduped."""

    before: datetime
    windows: datetime

    @classmethod
    def of(cls, database: Database, now: datetime, keep: float) -> Self:
        """What is old at `now` when `keep` seconds are kept, with the longest window of any dedupe scope in the store.

        Raises:
            ValidationError: less than `SHORTEST` is to be kept.
        """
        if keep < SHORTEST:
            raise ValidationError(f"expected history to be kept for an hour at least, got: {keep:g} s")
        scopes = [Dedupe.read(row.dedupe) for row in database.read(lambda connection: connection.execute(_DEDUPES))]
        longest = max((scope.window for scope in scopes if scope.mode is DedupeMode.WINDOW), default=0.0)
        return cls(now - timedelta(seconds=keep), now - timedelta(seconds=max(keep, longest)))

    @property
    def parameters(self) -> dict[str, object]:
        """Both, as statements take them."""
        return {"before": self.before, "windows": self.windows}


@dataclass(frozen=True, slots=True)
class Step:
    """One batch: how many old rows it looked at and removed, and the id of the last one; None when none was left."""

    last: int | None
    looked: int = 0
    removed: int = 0


class History(Protocol):
    """Rows of one kind that grow old."""

    @property
    def what(self) -> str:
        """What the rows are called, in the plural."""

    def aged(self, connection: Connection, age: Age) -> int:
        """How many rows are old, whether or not they may go."""

    def prunable(self, connection: Connection, age: Age) -> int:
        """How many of them may go."""

    def prune(self, database: Database, age: Age, after: int, limit: int) -> Step:
        """Look at the next `limit` old rows with an id over `after`, and remove those that may go."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table, each of which may go by itself.

    `moment` is the column that tells a row's age; `spare` is the condition, over the row `t`, for what must stay.
    Both are SQL of ours, with the parameters `:before` and `:windows`.
    """

    what: str
    table: str
    moment: str
    spare: str

    def aged(self, connection: Connection, age: Age) -> int:
        """How many rows are old."""
        sql = f"select count(*) as n from {self.table} where {self.moment} < :before"
        return int(connection.execute(sql, before=age.before)[0].n)

    def prunable(self, connection: Connection, age: Age) -> int:
        """How many of them may go."""
        sql = f"select count(*) as n from {self.table} t where t.{self.moment} < :before and not ({self.spare})"
        return int(connection.execute(sql, age.parameters)[0].n)

    def prune(self, database: Database, age: Age, after: int, limit: int) -> Step:
        """Look at the next old rows, and remove those that may go."""
        looked, last = rows_between(database, self.table, self.moment, age.before, after, limit)
        if last is None:
            return Step(None)
        sql = f"""
            delete from {self.table} as t where t.id > :after and t.id <= :last and t.{self.moment} < :before
            and not ({self.spare})
        """
        removed = database.transact(
            lambda connection: connection.change(sql, age.parameters, after=after, last=last)
        )
        return Step(last, looked, removed)


def rows_between(
    database: Database, table: str, moment: str, before: datetime, after: int, limit: int
) -> tuple[int, int | None]:
    """How many of the next `limit` rows over an id are old, and the id of the last one; None when there is none."""
    sql = f"""
        select count(*) as n, max(id) as last from (
            select id from {table} where id > :after and {moment} < :before order by id limit :limit
        ) as old
    """
    values = {"after": after, "before": before, "limit": limit}
    found = database.read(lambda connection: connection.execute(sql, values))[0]
    return found.n, found.last


def prune(
    database: Database,
    histories: Iterable[History],
    age: Age,
    *,
    batch: int = BATCH,
    progress: Callable[[str, int], object] | None = None,
) -> dict[str, int]:
    """Remove what may go; how many rows, by kind. `progress` is told what was looked at, and how many, each time.

    Raises:
        StoreUnavailable: the store failed; what was removed before is gone.
    """
    removed: dict[str, int] = {}
    for history in histories:
        removed[history.what], after = 0, 0
        while (step := history.prune(database, age, after, batch)).last is not None:
            after = step.last
            removed[history.what] += step.removed
            if progress is not None:
                progress(history.what, step.looked)
    return removed
