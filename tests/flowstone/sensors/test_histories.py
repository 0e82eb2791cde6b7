"""Histories of compare-and-set: interleaved polls, retries, steering and restarts against a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity
from flowstone.outcome import Outcome
from flowstone.runs.store import list_runs
from flowstone.sensors import Arrival, NoTrigger, PollError, Sensor, SensorSpec, Trigger
from flowstone.sensors.cursor import write_state
from flowstone.sensors.definitions import define_all
from flowstone.sensors.evaluation import Evaluation, begin, decide
from flowstone.sensors.rows import EvaluationRow, SensorRow
from flowstone.sensors.steering import pause, reset, resume, rewind
from flowstone.sensors.store import commit, history, read
from flowstone.state.database import Database

START = datetime(2025, 1, 15, tzinfo=UTC)


class Nothing(Sensor):
    def poll(self, state: Any) -> Any:
        return NoTrigger()


SPEC = SensorSpec("s", Nothing(), every="1s", target="raw", break_after=3)
CATALOG = Catalog([Asset(lambda context: 1, name="raw")])

STEPS = st.one_of(
    st.tuples(st.just("begin"), st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 3), st.integers(0, 5)),
    st.tuples(st.just("retry"), st.integers(0, 9)),
    st.tuples(st.just("move clock"), st.integers(-5, 5)),
    st.tuples(st.sampled_from(["pause", "resume", "restart"])),
    st.tuples(st.just("reset"), st.integers(0, 9)),
    st.tuples(st.just("rewind"), st.integers(0, 9)),
)


@dataclass
class Model:
    """What the store has to say, computed without one."""

    state: Any = None
    version: int = 0
    failures: int = 0
    paused: bool = False
    known: dict[str, int] = field(default_factory=dict)
    runs: int = 0


class World:
    """A store, the model of it, and polls that have begun and not ended."""

    def __init__(self, database: Database) -> None:
        self.database, self.model, self.now, self.manual = database, Model(), START, 0
        self.begun: list[tuple[Any, int]] = []
        self.decided: list[Evaluation] = []
        self.committed: dict[str, EvaluationRow] = {}
        self.states: dict[str, Any] = {}
        self.restart()

    def row(self) -> SensorRow:
        return self.database.read(lambda c: read(c, "s"))

    def steer(self, step: Any, *args: Any, **options: Any) -> None:
        self.database.transact(lambda c: step(c, "s", *args, actor="ann", now=self.now, **options))
        self.model.version += 1

    def restart(self) -> None:
        self.database.transact(lambda c: define_all(c, [SPEC], actor="ann", now=self.now))

    def begin(self, manual: bool) -> None:
        self.manual += 1
        start = begin(self.row(), self.now, manual=f"m{self.manual}" if manual else None)
        if start.eval_key not in {other.eval_key for other, _ in self.begun} | {e.start.eval_key for e in self.decided}:
            self.begun.append((start, self.model.version))

    def end(self, kind: int, number: int) -> None:
        if not self.begun:
            return
        start, version = self.begun.pop(number % len(self.begun))
        answers: list[Any] = [
            Trigger(Arrival("p", key=str(number)), "q", state=number),
            NoTrigger(state=number),
            NoTrigger(),
            PollError("x"),
        ]
        evaluation = decide(
            SPEC, start, Outcome(value=answers[kind]), now=self.now, regular=1.0, abandoned=0, catalog=CATALOG
        )
        self.decided.append(evaluation)
        row = self.commit(evaluation)
        self.expect(row, kind, number, stale=version != self.model.version)

    def expect(self, row: EvaluationRow, kind: int, number: int, *, stale: bool) -> None:
        model = self.model
        if stale:
            assert row.status == "skipped_stale"
        elif kind == 3:
            model.failures += 1
            assert row.status == "error"
        else:
            model.failures, model.version = 0, model.version + 1
            model.state = number if kind in (0, 1) else model.state
            fresh = str(number) not in model.known
            if kind == 0:
                model.runs += 1 + int(fresh)
                model.known.setdefault(str(number), row.id)
                assert (row.request_count, row.duplicate_count) == (1 + int(fresh), int(not fresh))
            assert row.status == ("triggered" if kind == 0 else "no_trigger")

    def commit(self, evaluation: Evaluation) -> EvaluationRow:
        row = self.database.transact(lambda c: commit(c, evaluation, identity=Identity())).evaluation
        assert self.committed.setdefault(row.eval_id, row) == row
        return row

    def rewind(self, number: int) -> None:
        rows = list(self.committed.values())
        if rows:
            to = rows[number % len(rows)]
            self.steer(rewind, to.eval_id)
            self.model.state = to.cursor_after["state"] if to.cursor_after else None
            self.model.known = {key: at for key, at in self.model.known.items() if at <= to.id}

    def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("begin", manual):
                self.begin(manual)
            case ("end", kind, number):
                self.end(kind, number)
            case ("retry", number) if self.decided:
                self.commit(self.decided[number % len(self.decided)])
            case ("move clock", seconds):
                self.now += timedelta(seconds=seconds)
            case ("pause",):
                self.steer(pause, reason=None)
                self.model.paused = True
            case ("resume",):
                self.steer(resume)
                self.model.paused, self.model.failures = False, 0
            case ("reset", number):
                self.steer(reset, write_state(SPEC.sensor, number), forget=False)
                self.model.state, self.model.failures = number, 0
            case ("rewind", number):
                self.rewind(number)
            case ("restart",):
                self.restart()

    def check(self) -> None:
        model, row = self.model, self.row()
        assert (row.state, row.state_version, row.consecutive_failures) == (model.state, model.version, model.failures)
        broken = "broken" if model.failures >= SPEC.break_after else "active"
        assert row.status == ("paused" if model.paused else broken)
        runs = self.database.read(lambda c: list_runs(c, limit=1000))
        assert len(runs) == model.runs
        rows = self.database.read(lambda c: history(c, "s", limit=1000))
        assert {row.eval_id: row for row in rows} == self.committed
        assert sum(row.request_count for row in rows) == model.runs
        keys = [row.eval_key for row in rows]
        assert len(keys) == len(set(keys))


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_interleaving_of_polls_and_steering_keeps_the_record(steps: list[tuple[Any, ...]]) -> None:
    database = Database.open("memory://")
    try:
        world = World(database)
        for step in steps:
            world.step(step)
            world.check()
    finally:
        database.close()
