"""Rows of PostgreSQL whose transactions end in any order, or not at all: each that was committed, once."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone.sensors import DatabaseChange, PollError
from flowstone.sensors.surroundings import ALONE

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WIDEST = 1000
"""How far below the mark a row may be committed: more than any example comes to."""


class Stored:
    """Surroundings whose store knows what a poller committed."""

    poller: Any = None
    now = ALONE.now
    wake = ALONE.wake

    def known(self, wanted: Any) -> frozenset[str]:
        known: frozenset[str] = self.poller.known(wanted)
        return known


class Log:
    """A table seen through a view, and the transactions that write into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.server = psycopg.connect(url, autocommit=True)
        self.server.execute("drop table if exists log cascade")
        self.server.execute("create table log (id integer primary key, at integer)")
        self.server.execute("create view shown as select * from log")
        self.open: list[tuple[int, Any]] = []
        self.committed: list[int] = []
        self.number = 0

    def begin(self, tie: int) -> None:
        """A transaction with one row, whose mark is its number, or half of it."""
        self.number += 1
        writer = psycopg.connect(self.url)
        writer.execute("insert into log values (%s, %s)", (self.number, self.number // (1 + tie % 2)))
        self.open.append((self.number, writer))

    def end(self, which: int, *, commits: bool) -> None:
        if self.open:
            number, writer = self.open.pop(which % len(self.open))
            with writer:
                self.committed += [number] if commits else []
                writer.commit() if commits else writer.rollback()

    def close(self) -> None:
        while self.open:
            self.end(0, commits=False)
        self.server.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["begin", "begin", "begin", "commit", "commit", "rollback", "delete", "poll", "lose", "restart", "fail"]
        ),
        st.integers(0, 4),
    ),
    max_size=20,
)


@pytest.mark.property
@settings(SLOW, max_examples=15)
@given(steps=STEPS, limit=st.sampled_from([1, 3, 1000]), key=st.sampled_from(["id", None]))
def test_the_runs_are_the_rows_that_were_committed(
    postgres_url: str, poller: Any, steps: Any, limit: int, key: str | None
) -> None:
    """Transactions that end in any order, deletions, a table that is away, answers that were lost, restarts."""
    log, around = Log(postgres_url), Stored()
    told: dict[str, Any] = {"table": "shown", "high_water": "at", "lookback": WIDEST, "limit": limit, "key": key}
    watch = around.poller = poller(DatabaseChange(url=postgres_url, **told), around)
    runs: list[int] = []

    def poll() -> None:
        runs.extend(item.payload["row"]["id"] for item in watch.all())

    for step, which in steps:
        if step == "begin":
            log.begin(which)
        elif step in ("commit", "rollback"):
            log.end(which, commits=step == "commit")
        elif step == "delete":
            poll()
            log.server.execute("delete from log")
        elif step == "poll":
            poll()
        elif step == "lose":
            watch.sensor.poll(watch.state)
        elif step == "restart":
            watch.sensor = DatabaseChange(url=postgres_url, **told).within(around)
        else:
            log.server.execute("alter view shown rename to away")
            with pytest.raises(PollError) as caught:
                watch.poll()
            assert caught.value.code == "database_error"
            log.server.execute("alter view away rename to shown")
    while log.open:
        log.end(0, commits=True)
    poll()
    again = watch.poll()
    log.close()
    assert (sorted(runs), again) == (sorted(log.committed), [])
