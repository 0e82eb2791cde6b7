"""Several runtimes on one PostgreSQL, each a process: all happens once, and who dies or sleeps is replaced.

Heartbeats are shortened to half a second, and all that is counted in them with them: a node is dead after 1.5 s.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flowstone as fs
import psycopg
import pytest

PROGRAM = Path(__file__).parent / "programs" / "node.py"
HEARTBEAT = 0.5
SENSORS = 6
PATIENCE = 25.0

TAKEN_OVER = """
    select r.status, r.boot, r.fence, r.attempt, r.interruptions, m.status, m.attempt, m.fence, m.busy, m.stored::text,
        m.started_at, m.completed_at, (select count(*) from audit where resource = 'run:' || r.run_id)
    from run r join materialization m using (run_id) where run_id = %s
"""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60)]


class Node:
    """A runtime in a process of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "FLOWSTONE_TEST_HEARTBEAT": str(HEARTBEAT)},
        )
        self.pid = self.process.pid

    def ready(self) -> Node:
        """Itself, when it runs."""
        assert self._answer() == "ready"
        return self

    def tell(self, order: str) -> str:
        """What it answers."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return self._answer()

    def send(self, number: signal.Signals) -> None:
        """Kill, stop or continue the process."""
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait()

    def let_go(self) -> None:
        """Let its call of `slow` return."""
        gate = os.open(self._folder / f"gate-{self.pid}", os.O_RDWR)
        os.write(gate, b".")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


class World:
    """The store as a connection of the test sees it, the sources, and the processes."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.nodes: list[Node] = []
        self.letters = [0] * SENSORS
        for number in range(SENSORS):
            (folder / f"letters-{number}").touch()
        (folder / "calls").touch()
        self._connection = psycopg.connect(url, autocommit=True)
        channel = self._connection.execute("select 'flowstone_' || md5(current_schema())").fetchone()
        assert channel is not None
        self._connection.execute(f"listen {channel[0]}")

    def start(self) -> Node:
        """Another runtime, which runs."""
        self.nodes.append(Node(self.url, self.folder))
        return self.nodes[-1].ready()

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """What a query finds now."""
        return self._connection.execute(query, parameters).fetchall()

    def wait_for(self, query: str, *parameters: object) -> list[Any]:
        """What a query finds, once it finds anything; it is asked again when somebody has committed."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.rows(query, *parameters)):
            left = deadline - time.monotonic()
            assert left > 0, f"never true: {query} {parameters}"
            list(self._connection.notifies(timeout=min(left, 0.2), stop_after=1))
        return found

    def write_letters(self) -> None:
        """One more for each sensor."""
        for number in range(SENSORS):
            with (self.folder / f"letters-{number}").open("a") as source:
                source.write(".")
            self.letters[number] += 1

    def wait_for_letters(self) -> None:
        """Wait until each letter has its run, and each run has succeeded."""
        self.wait_for(
            "select 1 where (select count(*) from run where source_kind = 'sensor' and status = 'success') = %s",
            sum(self.letters),
        )

    def wait_for_ticks(self, count: int) -> None:
        """Wait for so many more ticks, and their runs."""
        [[before]] = self.rows("select count(*) from tick")
        self.wait_for("select 1 where (select count(*) from tick) >= %s", before + count)
        self.wait_for(
            "select 1 where not exists (select 1 from run where source_kind = 'schedule' and status <> 'success')"
        )

    def begin_slow(self, node: Node) -> str:
        """A run of `slow`, which the one node that there is has begun; its id."""
        shop = fs.Pipeline("shop")
        shop.asset(lambda context: 0, name="slow")
        with fs.Client(shop, store=self.url) as client:
            run_id = client.materialize_async("slow").run_id
        self.wait_for_call(run_id, node)
        return run_id

    def wait_for_call(self, run_id: str, node: Node) -> None:
        """Wait until a node has called `slow` for a run."""
        deadline = time.monotonic() + PATIENCE
        while [run_id, str(node.pid)] not in self.calls("slow"):
            assert time.monotonic() < deadline, f"process {node.pid} never called slow"
            list(self._connection.notifies(timeout=0.05, stop_after=1))

    def node_of(self, node: Node) -> Any:
        """The boot and the number of the living start of a process, once there is one."""
        return self.wait_for("select boot, number from node where pid = %s and ended_at is null", node.pid)[0]

    def calls(self, kind: str) -> list[list[str]]:
        """The calls of a kind: of what, and by which process."""
        lines = (line.split() for line in (self.folder / "calls").read_text().splitlines())
        return [words[1:] for words in lines if words[0] == kind]

    def check_all_happened_once(self) -> None:
        """Each second has one tick, each tick one run, each letter one evaluation and one run.

        Each run is called once, and once more for each interruption that is recorded.
        """
        with self._connection.transaction():
            self._connection.execute("set transaction isolation level repeatable read")
            ticks = self.rows("select scheduled_for, status, run_id from tick order by scheduled_for")
            runs = self.rows("select run_id, source_kind, partition, interruptions from run")
            settled = self.rows("select eval_key from evaluation where status = 'triggered'")
        assert {status for _, status, _ in ticks} == {"triggered"}
        seconds = [int(at.timestamp()) for at, *_ in ticks]
        assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
        assert sorted(run_id for *_, run_id in ticks) == sorted(run[0] for run in runs if run[1] == "schedule")
        assert len(set(settled)) == len(settled)
        wanted = [f"letters-{sensor}-{n}" for sensor, count in enumerate(self.letters) for n in range(count)]
        assert sorted(run[2] for run in runs if run[1] == "sensor") == sorted(wanted)
        interruptions = {run[0]: run[3] for run in runs}
        calls = Counter(run_id for kind in ("letter", "pulse", "slow") for run_id, _pid in self.calls(kind))
        twice = {run_id for run_id, count in calls.items() if count > 1 + interruptions.get(run_id, 0)}
        assert not twice, "a run was called again, and nobody recorded why"

    def close(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.process.kill()
            node.process.communicate()
        self._connection.close()


@pytest.fixture
def world(make_store_url: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    world = World(make_store_url("postgresql"), tmp_path)
    yield world
    world.close()


def pollers(world: World) -> set[str]:
    """The processes that have polled something new."""
    return {pid for _what, pid in world.calls("poll")}


def test_ticks_evaluations_and_runs_happen_once_on_two_nodes(world: World) -> None:
    first, second = world.start(), world.start()
    world.wait_for("select 1 where (select count(*) from node where settled = (select epoch from cluster)) = 2")
    for _ in range(4):
        world.write_letters()
        world.wait_for_letters()
    world.wait_for_ticks(2)
    world.check_all_happened_once()
    polls = world.calls("poll")
    assert len({what for what, _pid in polls}) == len(polls), "something new was polled twice"
    health = second.tell("health")
    polled = [int(number) for number in re.findall(r"(\d+) sensors", health)]
    assert f":{first.pid} is ok: it has the scheduler and {polled[0]} sensors" in health
    assert f":{second.pid} is ok: it has {polled[1]} sensors" in health
    assert sum(polled) == SENSORS
    assert first.tell("poll") == second.tell("poll") == "polled no_trigger"


def test_a_killed_node_is_replaced_within_three_heartbeats(world: World) -> None:
    first = world.start()
    run_id = world.begin_slow(first)
    second = world.start()
    world.write_letters()
    world.wait_for_letters()
    first.send(signal.SIGKILL)
    [[killed]] = world.rows("select clock_timestamp()")
    [[ended]] = world.wait_for("select ended_at from node where pid = %s and ended_at is not null", first.pid)
    assert (ended - killed).total_seconds() < 3 * HEARTBEAT
    world.wait_for_call(run_id, second)
    second.let_go()
    [[interruptions]] = world.wait_for("select interruptions from run where run_id = %s and status = 'success'", run_id)
    assert interruptions == 1
    world.write_letters()
    world.wait_for_letters()
    world.wait_for_ticks(2)
    world.check_all_happened_once()
    assert str(second.pid) in pollers(world)
    assert f":{second.pid} is ok: it has the scheduler and {SENSORS} sensors" in second.tell("health")


def test_a_node_that_sleeps_past_its_lease_is_replaced_and_changes_nothing_when_it_wakes(world: World) -> None:
    first = world.start()
    run_id = world.begin_slow(first)
    second = world.start()
    world.write_letters()
    world.wait_for_letters()
    boot, _number = world.node_of(first)
    first.send(signal.SIGSTOP)
    world.wait_for("select 1 from node where boot = %s and ended_at is not null", boot)
    world.wait_for_call(run_id, second)
    world.write_letters()
    world.wait_for_letters()
    world.wait_for_ticks(1)
    before = world.rows(TAKEN_OVER, run_id)
    first.let_go()
    first.send(signal.SIGCONT)
    again, _number = world.node_of(first)
    assert again != boot
    assert world.rows(TAKEN_OVER, run_id) == before, "the woken node wrote under its lost lease"
    assert world.rows("select 1 from run where boot = %s", boot) == []
    second.let_go()
    world.wait_for("select 1 from run where run_id = %s and status = 'success'", run_id)
    [[stored]] = world.rows("select stored ->> 'location' from materialization where run_id = %s", run_id)
    assert pickle.loads((world.folder / "values" / stored).read_bytes()) == second.pid
    world.write_letters()
    world.wait_for_letters()
    world.wait_for_ticks(2)
    world.check_all_happened_once()
    assert "it joined again at" in first.tell("health")
    assert f":{second.pid} is ok: it has the scheduler" in first.tell("health")
