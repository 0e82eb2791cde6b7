"""Runs over random graphs: asked for, failing, cancelled, decided about and interrupted in any order.

Whatever happens, statuses move as the tables say, each run ends as a model of its graph says, functions are called as
often as is recorded, and values are what they would be without any of it. What a kill does is proved elsewhere.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import flowstone as fs
from actors.testing import ManualClock
from flowstone.core.run import MATERIALIZATION_STEPS, RUN_STEPS
from flowstone.io import FilesIO
from flowstone.runs.recovery import MAX_INTERRUPTIONS

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
PATIENCE = 20
ATTEMPTS = 3
BEHAVIOURS = ["value"] * 4 + ["asks"] * 2 + ["fails", "breaks off", "skips", "again"]
# Not shrunk: each step of a shorter history would need a store and a runtime of its own again.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
EFFORT = settings(max_examples=30, stateful_step_count=16, phases=PHASES, suppress_health_check=list(HealthCheck))

SQLITE = """
create table moved (kind text, before text, after text);
create trigger run_moves after update of status on run when old.status <> new.status
begin insert into moved values ('run', old.status, new.status); end;
create trigger materialization_moves after update of status on materialization when old.status <> new.status
begin insert into moved values ('materialization', old.status, new.status); end;
"""
POSTGRESQL = """
create table moved (kind text, before text, after text);
create function note_move() returns trigger language plpgsql as $$
begin insert into moved values (tg_table_name, old.status, new.status); return new; end $$;
create trigger run_moves after update of status on run for each row
when (old.status is distinct from new.status) execute function note_move();
create trigger materialization_moves after update of status on materialization for each row
when (old.status is distinct from new.status) execute function note_move();
"""


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A connection to a store from outside."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            yield connection
    else:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection


def note_moves(url: str) -> None:
    """Let the database itself write down each step of a status."""
    fs.Client(store=url).__enter__().__exit__(None, None, None)
    with connected(url) as connection:
        connection.executescript(SQLITE) if url.startswith("sqlite") else connection.execute(POSTGRESQL)


def value_of(asset: str, partition: str, needs: Mapping[str, bytes]) -> bytes:
    """What an asset is: bytes that follow from what it is made from."""
    content = b"".join([asset.encode(), partition.encode(), *(needs[name] for name in sorted(needs))])
    return hashlib.sha256(content).digest()


class Breaks(Exception):
    """An error that no policy names."""


@dataclass(frozen=True, slots=True)
class Wished:
    """A run that was asked for."""

    key: str
    assets: tuple[str, ...]
    partition: str


class World:
    """A random graph, what its assets do in each attempt, and how often they were called."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        names = [f"a{number}" for number in range(chance.randint(2, 6))]
        self.needs = {name: chance.sample(names[:n], chance.randint(0, min(2, n))) for n, name in enumerate(names)}
        self.seed, self.calls, self.gate = seed, Counter[tuple[str, str]](), threading.Event()
        self.keys: dict[str, str] = {}
        self.gate.set()
        self.pipeline = fs.Pipeline("world")
        for name, needs in self.needs.items():
            policy = fs.RetryPolicy(max_attempts=ATTEMPTS, base="1m", on=(ValueError,))
            self.pipeline.add(fs.Asset(self.make, name=name, depends_on=needs, retry=policy))

    def behaviour(self, asset: str, key: str, attempt: int) -> str:
        """What an attempt does: drawn once, the same however often it is made again."""
        return random.Random(f"{self.seed}/{asset}/{key}/{attempt}").choice(BEHAVIOURS)

    def make(self, context: Any, needs: Mapping[str, bytes]) -> Any:
        """The function of each asset."""
        self.calls[context.run_id, context.asset] += 1
        assert self.gate.wait(PATIENCE)
        does = self.behaviour(context.asset, self.keys[context.run_id], context.attempt)
        if does == "fails":
            raise ValueError("try again")
        if does == "breaks off":
            raise Breaks("no more")
        if does == "skips":
            return fs.Skip("nothing new")
        if does == "again":
            return fs.Retry(after=30)
        if does == "asks" and context.approval is None:
            return fs.WaitForApproval("go on?")
        return value_of(context.asset, context.partition, needs)

    def value(self, asset: str, partition: str) -> bytes:
        """What an asset is when nothing goes wrong."""
        return value_of(asset, partition, {name: self.value(name, partition) for name in self.needs[asset]})

    def expected(self, wished: Wished, rejected: set[str]) -> dict[str, tuple[str, int]]:
        """How each asset of a run ends, and in which attempt; `rejected` are those to which people said no."""
        ends: dict[str, tuple[str, int]] = {}
        for asset in wished.assets:
            within = [name for name in self.needs[asset] if name in wished.assets]
            if any(ends[name][0] != "success" for name in within):
                ends[asset] = ("skipped", 0)
                continue
            for attempt in range(1, ATTEMPTS + 1):
                does = self.behaviour(asset, wished.key, attempt)
                if does not in ("fails", "again"):
                    break
            said_no = does == "asks" and asset in rejected
            bad = said_no or does in ("fails", "again", "breaks off")
            ends[asset] = ("failed" if bad else "skipped" if does == "skips" else "success", attempt)
        return ends


class Machine(RuleBasedStateMachine):
    """One store, and one runtime on it after the other."""

    url: str
    folder: Path

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        """The first runtime, on an empty store."""
        note_moves(self.url)
        self.world, self.clock = World(seed), ManualClock(NOON)
        self.wished: dict[str, Wished] = {}
        self.cancelled: set[str] = set()
        self.rejected: dict[str, set[str]] = {}
        self.restarts = 0
        self.runtime = self.started()

    def started(self) -> fs.Runtime:
        """A runtime of the time that it is."""
        self.clock = ManualClock(self.clock.now())
        options: dict[str, Any] = {"io_managers": {"files": FilesIO(self.folder)}, "io_manager": "files"}
        return fs.Runtime(self.world.pipeline, store=self.url, clock=self.clock, **options).start()

    @rule(number=st.integers(0, 5), partition=st.sampled_from("xy"), priority=st.integers(0, 2), drained=st.booleans())
    def ask(self, number: int, partition: str, priority: int, drained: bool) -> None:
        """Wish for an asset with all that it is made from, the later ones rather than the first."""
        name = list(self.world.needs)[-1 - number % len(self.world.needs)]
        graph, key = self.world.pipeline.graph, f"wish-{len(self.wished)}"
        closure = {name, *graph.upstream(name)}
        wished = Wished(key, tuple(asset for asset in graph.order() if asset in closure), partition)
        self.world.keys[fs.run_id(key)] = key
        options: dict[str, Any] = {"run_key": key, "priority": priority, "force": True}
        run_id = self.runtime.materialize_async(f"+{name}", partition=partition, **options).run_id
        self.wished[run_id] = wished
        if drained:
            self.drain()

    @precondition(lambda self: self.wished)
    @rule(number=st.integers(0, 100))
    def cancel(self, number: int) -> None:
        """Cancel a run in whatever state it is, one that has not finished where there is one."""
        finished = {run_id for run_id in self.wished if self.runtime.runs.get(run_id).completed_at is not None}
        among = [run_id for run_id in self.wished if run_id not in finished] or list(self.wished)
        run_id = among[number % len(among)]
        if self.runtime.runs.cancel(run_id):
            self.cancelled.add(run_id)

    @rule(yes=st.booleans())
    def decide(self, yes: bool) -> None:
        """Answer what is asked."""
        for question in self.runtime.approvals.list_pending():
            if yes:
                self.runtime.approvals.approve(question.id, by="ann")
            else:
                self.rejected.setdefault(question.run_id, set()).add(question.asset)
                self.runtime.approvals.reject(question.id, by="ann")

    @rule()
    def drain(self) -> None:
        """Let all be done that is due."""
        self.runtime.drain(timeout=PATIENCE)

    @rule(minutes=st.sampled_from([1, 10]))
    def advance(self, minutes: int) -> None:
        """Let time pass."""
        self.clock.advance(60.0 * minutes)

    @precondition(lambda self: self.restarts < MAX_INTERRUPTIONS - 1)
    @rule(held=st.booleans())
    def restart(self, held: bool) -> None:
        """Stop at once, in the middle of calls that come back only when the next runtime has begun."""
        self.restarts += 1
        if held:
            self.world.gate.clear()
            for _ in range(2):
                self.ask(0, "x", 0, False)
        self.runtime.stop(0)
        self.runtime = self.started()
        self.world.gate.set()

    def teardown(self) -> None:
        """Bring everything to its end, and look at it."""
        if not hasattr(self, "runtime"):
            return
        try:
            self.come_to_rest()
            self.check()
        finally:
            self.world.gate.set()
            self.runtime.stop(0)

    def come_to_rest(self) -> None:
        """Approve and let time pass until nothing is left to do."""
        for _ in range(ATTEMPTS * len(self.world.needs) + 1):
            self.drain()
            self.decide(True)
            self.advance(10)
        self.drain()

    def check(self) -> None:
        """What must hold, whatever happened."""
        for run_id, wished in self.wished.items():
            run = self.runtime.runs.get(run_id)
            made = {row.asset: row for row in run.materializations}
            assert set(made) == set(wished.assets)
            assert (run.status == "cancelled") == (run_id in self.cancelled)
            ends = self.world.expected(wished, self.rejected.get(run_id, set()))
            for asset, row in made.items():
                assert row.status == ends[asset][0] or (row.status == "cancelled" and run_id in self.cancelled), row
                if row.status == "success":
                    assert row.attempt == ends[asset][1]
                self.check_calls(run_id, row, run.interruptions, ends[asset][1])
            if run_id not in self.cancelled:
                assert run.status == ("failed" if "failed" in {end for end, _ in ends.values()} else "success")
        self.check_values()
        with connected(self.url) as connection:
            moves = connection.execute("select distinct kind, before, after from moved").fetchall()
        tables: Any = {"run": RUN_STEPS, "materialization": MATERIALIZATION_STEPS}
        assert [move for move in moves if move[2] not in tables[move[0]][move[1]]] == []

    def check_calls(self, run_id: str, row: Any, interruptions: int, attempts: int) -> None:
        """A function is called once for each attempt, once more for each answer, and again when it was interrupted."""
        calls = self.world.calls[run_id, row.asset]
        asked = self.world.behaviour(row.asset, self.wished[run_id].key, attempts) == "asks"
        assert calls <= attempts + asked + interruptions
        if row.status in ("success", "failed"):
            assert calls >= attempts

    def check_values(self) -> None:
        """The values that there are, byte for byte."""
        for asset in self.world.needs:
            for partition in "xy":
                rows = self.runtime.materializations.list(asset=asset, partition=partition, status="success")
                assert self.runtime.exists(asset, partition) == bool(rows)
                if rows:
                    assert self.runtime.get(asset, partition) == self.world.value(asset, partition)


@pytest.mark.property
@pytest.mark.timeout(120)
def test_runs_over_random_graphs_end_as_a_model_says_whatever_happens_on_sqlite(tmp_path: Path) -> None:
    run_machine(lambda number: f"sqlite:///{tmp_path}/{number}.db", tmp_path)


@pytest.mark.property
@pytest.mark.timeout(120)
def test_runs_over_random_graphs_end_as_a_model_says_whatever_happens_on_postgresql(
    postgres_server: Any, tmp_path: Path
) -> None:
    urls: list[str] = []

    def make(number: int) -> str:
        urls.append(postgres_server.make())
        return urls[-1]

    run_machine(make, tmp_path)
    for url in urls:
        postgres_server.drop(url)


def run_machine(make_url: Callable[[int], str], tmp_path: Path) -> None:
    """Run the machine, each time on an empty store."""
    made: list[Machine] = []

    def machine() -> Machine:
        each = Machine()
        each.url, each.folder = make_url(len(made)), tmp_path / f"values-{len(made)}"
        made.append(each)
        return each

    run_state_machine_as_test(machine, settings=EFFORT)  # type: ignore[arg-type]
