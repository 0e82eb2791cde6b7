"""Files that arrive while the service is killed again and again: each has one run and one success."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from select import select

import pytest

from flowstone.state.connection import Connection
from flowstone.state.database import Database

PROGRAM = Path(__file__).parent / "programs" / "arrivals.py"
KILLS = {"sqlite": 20, "postgresql": 12}
LONGEST_LIFE = 0.3


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    """The service, once it serves."""
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    return process


def arrive(folder: Path, number: int) -> None:
    """A file arrives complete, by a rename."""
    part = folder / f".{number}.part"
    part.write_text(f"order {number}")
    part.rename(folder / f"{number:04}.txt")


@pytest.mark.crash
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KILLS)
def test_each_file_has_one_run_and_one_success_whatever_is_killed_when(
    kind: str, make_store_url: Callable[[str], str], tmp_path: Path
) -> None:
    folder, store, calls = tmp_path / "in", make_store_url(kind), tmp_path / "calls"
    folder.mkdir()
    chance = random.Random(os.environ.get("PYTEST_RANDOMLY_SEED", "1"))
    for kill in range(KILLS[kind]):
        first = kill == 0
        process = started(store, folder, calls, *["hold"] * first)
        assert process.stdin is not None and process.stdout is not None
        for number in range(3):
            arrive(folder, 3 * kill + number)
        if first:
            assert process.stdout.readline() == "in progress\n"
        else:
            # Not a wait for something: the moment of the kill is what is drawn.
            select([], [], [], chance.uniform(0, LONGEST_LIFE))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
    process = started(store, folder, calls)
    process.communicate("drain\n", timeout=60)
    assert process.returncode == 0
    with Database.open(store, exclusive=False) as database:
        database.read(lambda connection: check(connection, calls, 3 * KILLS[kind]))


def check(connection: Connection, calls: Path, files: int) -> None:
    """What the store holds against the calls that really happened."""
    runs = [tuple(row) for row in connection.execute("select partition, run_id, status, interruptions from run")]
    expected = [f"{number:04}.txt" for number in range(files)]
    assert sorted(row[0] for row in runs) == expected
    assert {row[2] for row in runs} == {"success"}
    successes = connection.execute("select partition from materialization where status = 'success'")
    assert sorted(row[0] for row in successes) == expected
    made = Counter(line.split()[1] for line in calls.read_text().splitlines())
    for _partition, run_id, _status, interruptions in runs:
        assert 1 <= made[run_id] <= 1 + interruptions
    assert sum(row[3] for row in runs) > 0, "no kill has found a run in progress"
    assert not connection.execute("select eval_key from evaluation group by eval_key having count(*) > 1")
