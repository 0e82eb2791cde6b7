"""The sensor of a database: a value that changes, or each row that comes past a high-water mark, once."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.durations import seconds
from flowstone.errors import ValidationError, shown
from flowstone.sensors.builtin.database.connection import POSTGRESQL, Reader, check_url, select
from flowstone.sensors.builtin.database.listening import Listener
from flowstone.sensors.builtin.database.values import before, identity, later, readable, restored, storable
from flowstone.sensors.sensor import Answer, Arrival, NoTrigger, PollError, Sensor, Trigger
from flowstone.sensors.surroundings import ALONE, Surroundings

__all__ = ["DatabaseChange"]

Row: TypeAlias = dict[str, Any]
Known: TypeAlias = tuple[str, Row]

RECENT = 200
FORTNIGHT = 14 * 86_400.0
LARGEST_ROW = 60_000
"""Characters of JSON past which a row's payload is its mark and its key alone."""


@checked_keywords
class DatabaseChange(Sensor):
    """Triggers when a value changes, or once for each row past a high-water mark.

    - `url`: any of peewee's, opened to be read only; or `database`, one of peewee's of your own
    - `query`: gives one value; it triggers when it is first not NULL, and on each change
    - `table`, `high_water`: a table or view, and a column that grows; every row triggers once, those there at first
      included, and again when its value in that column has changed; `table` may be "schema.table"
    - `lookback` (0): how far below the mark rows may still be committed: a number for numbers, a duration for instants
    - `key` (None): one or several columns that tell rows of the same mark apart; the default is the primary key, and
      where there is none all columns
    - `columns` (None): those that are read; all by default
    - `partition` (None): a function of the value, or of the row as a dict; the default is the date of the poll in UTC
    - `limit` (1000): rows of one poll; the rest is taken at once by the next
    - `timeout` ("30s"): of a statement
    - `channel` (None): of PostgreSQL's LISTEN; what is told there polls at once

    The payload is `value` and `previous`, or `row`; a `timestamp` of MySQL's in a row is in UTC.

    Raises:
        ValidationError: an unknown keyword, or a bad option.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        database: Any = None,
        query: str | None = None,
        table: str | None = None,
        high_water: str | None = None,
        lookback: object = 0,
        key: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        partition: Callable[[Any], Partition] | None = None,
        limit: int = 1000,
        timeout: object = "30s",
        channel: str | None = None,
    ) -> None:
        _check(None, "url or database", "given, and not both", (url is None) != (database is None))
        _check(query, "query, or table and high_water,", "given, and not both", _one_way(query, table, high_water))
        keys = (key,) if isinstance(key, str) else key
        for option, names in (("key", keys), ("columns", columns)):
            _check(names, option, "names of columns", names is None or bool(names) and all(map(_is_text, names)))
        _check(partition, "partition", "callable", partition is None or callable(partition))
        _check(limit, "limit", "an int of at least 1", type(limit) is int and limit >= 1)
        self.url = None if url is None else check_url(url)
        postgresql = url is not None and url.partition("://")[0] in POSTGRESQL
        _check(channel, "channel", "one of a PostgreSQL url", channel is None or _is_text(channel) and postgresql)
        self.database, self.query, self.table, self.high_water = database, query, table, high_water
        self.key, self.columns, self.partition, self.limit, self.channel = keys, columns, partition, limit, channel
        self.distance = seconds(lookback, "lookback")
        self.timeout = seconds(timeout, "timeout", minimum=0.001)
        self._reader = Reader(self.url, database, self.timeout)
        self._listener = None if channel is None or url is None else Listener(url, channel)
        self._around: Surroundings = ALONE

    # The rows of the window are seen again, and kept known, while they are in it; so any time is long enough.
    @property
    def lookback(self) -> float:  # type: ignore[override]  # computed here, a constant elsewhere
        """Seconds for which rows are remembered."""
        return max(2 * self.distance, FORTNIGHT)

    def within(self, surroundings: Surroundings) -> DatabaseChange:
        """This sensor, able to ask what it has committed, and to ask for polls."""
        copied = copy.copy(self)
        copied._around = surroundings
        return copied

    def init(self) -> dict[str, Any]:
        """The state before the first poll."""
        return {"of": self._of, "mark": None, "recent": []} if self.table else {"of": self._of, "value": None}

    def poll(self, state: dict[str, Any]) -> Answer:
        """What changed since the state.

        Raises:
            PollError: the database can't be reached, refuses the query, or takes too long.
        """
        if self._listener is not None and self._around is not ALONE:
            self._listener.listen(self._around.wake)
        if state.get("of") != self._of:
            state = self.init()
        if self.query is not None:
            with self._reader.connected() as database:
                _, values = select(database, self.query)
            return self._changed(state, values[0][0] if values else None)
        # An hour that comes twice on the clocks of a server would hide the rows of the second one.
        with self._reader.connected(utc=True) as database:
            keys = self._keys(database)
            rows, fresh, again = self._read(state, database, keys)
        return self._come(state, rows, [self._arrival(key, row, keys) for key, row in fresh], again)

    def cleanup(self, state: Any) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()

    @property
    def _of(self) -> str:
        told = json.dumps([self.query, self.table, self.high_water])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def _changed(self, state: dict[str, Any], value: Any) -> Answer:
        stored = storable(value)
        if stored is None or stored == state["value"]:
            return NoTrigger(state=state)
        payload = {"value": readable(value), "previous": readable(restored(state["value"]))}
        return Trigger(Arrival(self._partition(value), payload=payload), state={**state, "value": stored})

    def _read(self, state: dict[str, Any], database: Any, keys: Sequence[str]) -> tuple[list[Row], list[Known], bool]:
        """The rows from the lookback on, those of them that are new, and whether there may be more."""
        mark = restored(state["mark"])
        try:
            floor = None if mark is None else before(mark, self.distance)
        except ValueError as error:
            raise PollError(str(error), code="bad_lookback") from None
        most = self.limit
        while True:
            rows = self._selected(database, floor, keys, most)
            fresh = self._unknown(list(self._identified(rows, keys)), state["recent"])
            if fresh or len(rows) < most:
                return rows, fresh, len(rows) >= most
            # As many rows as one poll takes are known already: those that are new come after them.
            most *= 4

    def _come(self, state: dict[str, Any], rows: list[Row], arrivals: list[Arrival], again: bool) -> Answer:
        if not rows:
            return NoTrigger(state=state)
        newest = rows[-1][self.high_water or ""]
        # The order is the database's, as that of texts is; only below a lookback the newest row may be an older one.
        mark = later(restored(state["mark"]), newest) if self.distance else newest
        recent = dict.fromkeys([*state["recent"], *(str(arrival.key) for arrival in arrivals)])
        following = {**state, "mark": storable(mark), "recent": list(recent)[-RECENT:]}
        return Trigger(*arrivals, state=following, again=again) if arrivals else NoTrigger(state=following)

    def _keys(self, database: Any) -> Sequence[str]:
        if self.key is not None:
            return self.key
        schema, _, name = str(self.table).rpartition(".")
        return list(database.get_primary_keys(name, schema or None))

    def _selected(self, database: Any, floor: Any, keys: Sequence[str], most: int) -> list[Row]:
        parameters = () if floor is None else (floor,)
        doubled = "%%" if parameters and database.param == "%s" else "%"

        def quoted(name: str) -> str:
            opening, closing = database.quote
            parts = name.replace("%", doubled).split(".")
            return ".".join(f"{opening}{part.replace(closing, 2 * closing)}{closing}" for part in parts)

        column = quoted(str(self.high_water))
        wanted = None if self.columns is None else dict.fromkeys([*self.columns, str(self.high_water), *keys])
        what = "*" if wanted is None else ", ".join(map(quoted, wanted))
        where = f"{column} is not null" if floor is None else f"{column} >= {database.param}"
        order = ", ".join([column, *map(quoted, keys)])
        sql = f"select {what} from {quoted(str(self.table))} where {where} order by {order} limit {most}"
        names, rows = select(database, sql, *parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _identified(self, rows: list[Row], keys: Sequence[str]) -> Iterator[Known]:
        """Each row with what it is known by; equal rows of a table without a key are counted."""
        met: Counter[str] = Counter()
        for row in rows:
            told = [row[name] for name in keys] if keys else list(row.values())
            name = identity(str(self.table), row[self.high_water or ""], told, 0)
            met[name] += 1
            yield (name if met[name] == 1 else f"{name}#{met[name]}"), row

    def _unknown(self, rows: list[Known], recent: list[str]) -> list[Known]:
        # The cursor's own memory serves who has no store; the store's own is refreshed by being asked.
        known = frozenset(recent) if self._around is ALONE else self._around.known(key for key, _ in rows)
        return [(key, row) for key, row in rows if key not in known]

    def _arrival(self, key: str, row: Row, keys: Sequence[str]) -> Arrival:
        told = {name: readable(value) for name, value in row.items()}
        if len(json.dumps(told)) > LARGEST_ROW:
            told = {name: told[name] for name in {*keys, str(self.high_water)}}
        return Arrival(self._partition(row), key=key, payload={"row": told})

    def _partition(self, value: Any) -> Partition:
        return self._around.now().date() if self.partition is None else self.partition(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _one_way(query: object, table: object, high_water: object) -> bool:
    if query is not None:
        return _is_text(query) and table is None and high_water is None
    return _is_text(table) and _is_text(high_water)


def _check(value: object, option: str, expected: str, legal: bool) -> None:
    if not legal:
        raise ValidationError(f"expected {option} to be {expected}, got: {shown(value)}", option=option)
