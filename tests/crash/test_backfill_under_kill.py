"""A thousand partitions, some of which fail, and two kills in the middle: each is done once."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import flowstone as fs

PROGRAM = Path(__file__).parent / "programs" / "many_partitions.py"
KILLS = (0.2, 0.6)
"""Which part of the partitions is settled when the process is killed."""

pytestmark = pytest.mark.crash


def live(url: str, folder: Path, number: int, until: float | None) -> int:
    """One life, killed when so many partitions are settled; how it ended."""
    command = [sys.executable, str(PROGRAM), url, str(folder), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if until is not None and int(line) >= until:
                os.kill(process.pid, signal.SIGKILL)
                break
        return process.wait()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "number"), [("sqlite", 1000), ("postgresql", 1000)])
def test_a_thousand_partitions_are_done_once_each_whatever_is_killed(
    kind: str, number: int, make_store_url: Callable[[str], str], tmp_path: Path
) -> None:
    url, bad = make_store_url(kind), number // 50
    for settled in KILLS:
        assert live(url, tmp_path, number, settled * number) == -signal.SIGKILL
    assert live(url, tmp_path, number, None) == 0
    with fs.Client(store=url) as client:
        row = client.backfills.get("many")
        assert (row.status, row.total, row.succeeded, row.failed) == ("failed", number, number - bad, bad)
        failed = [each.partition for each in client.backfills.partitions("many", status="failed")]
        assert failed == list(range(0, number, 50))
        good = set(range(number)) - set(failed)
        interrupted = Counter(
            each.resource.removeprefix("run:")
            for each in client.audit.list(event_type="run.interrupted", limit=1000)
        )
        made = client.materializations.list()
        runs = client.runs.list(limit=1001)
    assert sorted(each.partition for each in made) == list(range(number))
    for each in made:
        assert (each.stored is not None) == (each.partition in good)
        if each.stored is not None:
            content = (tmp_path / "values" / each.stored.location).read_bytes()
            assert content == pickle.dumps(each.partition, pickle.HIGHEST_PROTOCOL)
    assert Counter(each.status for each in made) == {"success": number - bad, "failed": bad}
    assert len(runs) == number
    called = Counter((tmp_path / "calls").read_text().splitlines())
    assert {line.split()[1] for line in called} == {run.run_id for run in runs}
    for line, times in called.items():
        assert 1 <= times <= 1 + interrupted[line.split()[1]], line
