"""The sensor of a folder: each file once, whatever happens to the folder and the clock."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.errors import ValidationError
from flowstone.sensors import FileArrival, NoTrigger, Trigger
from flowstone.sensors.builtin import file_arrival

SECOND = 1_000_000_000
STEPS = ["write", "touch", "rename", "delete", "poll"]


class Watcher:
    """A sensor polled as FlowStone does: state as JSON, keys committed before dropped."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.sensor = FileArrival(folder, **options)
        self.state: Any = json.loads(json.dumps(self.sensor.init()))
        self.known: set[str] = set()
        self.answered = 0

    def poll(self) -> list[Any]:
        """The arrivals that are new."""
        answer = self.sensor.poll(self.state)
        assert isinstance(answer, Trigger | NoTrigger)
        if isinstance(answer.state, dict):
            self.state = json.loads(json.dumps(answer.state))
        self.known.update(answer.seen)
        arrivals: Any = answer.items if isinstance(answer, Trigger) else ()
        self.answered = len(arrivals)
        fresh = [arrival for arrival in arrivals if arrival.key not in self.known]
        self.known.update(arrival.key for arrival in fresh)
        return fresh

    def partitions(self) -> list[Any]:
        return [arrival.partition for arrival in self.poll()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "inbox"
    made.mkdir()
    return made


@pytest.fixture(autouse=True)
def settling(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens while the sensor lets files settle."""
    meanwhile: list[Callable[[], object]] = []
    monkeypatch.setattr(file_arrival, "sleep", lambda seconds: [action() for action in meanwhile])
    return meanwhile


class Kernel:
    """Stands in for the change times that the kernel gives: they can't be set."""

    def __init__(self) -> None:
        self.ctimes: dict[str, int] = {}

    def stat(self, path: Any) -> Any:
        found = os.stat(path)
        ctime = self.ctimes.get(os.fspath(path), found.st_ctime_ns)

        class Found:
            st_mode, st_size, st_dev, st_ino = found.st_mode, found.st_size, found.st_dev, found.st_ino
            st_mtime_ns, st_ctime_ns = found.st_mtime_ns, ctime

        return Found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()

    class Os:
        stat = staticmethod(made.stat)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    monkeypatch.setattr(file_arrival, "os", Os())
    return made


def test_each_file_arrives_once(folder: Path) -> None:
    watcher = Watcher(folder)
    assert watcher.poll() == []
    (folder / "a.csv").write_text("1")
    (folder / "b.csv").write_text("2")
    assert watcher.partitions() == ["a.csv", "b.csv"]
    assert (watcher.poll(), watcher.answered) == ([], 0)
    (folder / "c.csv").write_text("3")
    assert watcher.partitions() == ["c.csv"]


def test_the_payload_tells_path_size_and_time(folder: Path) -> None:
    (folder / "a.csv").write_text("123")
    os.utime(folder / "a.csv", ns=(0, 1736942400 * SECOND + 5000))
    (arrival,) = Watcher(folder).poll()
    assert arrival.payload == {
        "path": str(folder / "a.csv"),
        "size": 3,
        "mtime": "2025-01-15T12:00:00.000005+00:00",
    }
    assert arrival.key == f"a.csv:3:{1736942400 * SECOND + 5000}"


def test_a_file_that_changes_arrives_again(folder: Path) -> None:
    watcher = Watcher(folder)
    (folder / "a.csv").write_text("1")
    watcher.poll()
    (folder / "a.csv").write_text("12")
    assert watcher.partitions() == ["a.csv"]


def test_a_file_that_was_renamed_into_place_counts_at_once(
    folder: Path, settling: list[Callable[[], object]]
) -> None:
    settling.append(lambda: pytest.fail("nothing to settle"))
    (folder.parent / "a.tmp").write_text("1")
    os.utime(folder.parent / "a.tmp", ns=(0, 1))
    (folder.parent / "a.tmp").rename(folder / "a.csv")
    assert Watcher(folder).partitions() == ["a.csv"]


def test_a_file_that_is_still_written_to_waits(folder: Path, settling: list[Callable[[], object]]) -> None:
    watcher = Watcher(folder)
    (folder / "slow.csv").write_text("1")
    (folder / "done.csv").write_text("1")
    settling.append(lambda: (folder / "slow.csv").write_text("1234"))
    assert watcher.partitions() == ["done.csv"]
    settling.clear()
    assert watcher.partitions() == ["slow.csv"]


def test_a_file_that_is_written_to_longer_than_the_lookback_is_not_passed_over(
    folder: Path, settling: list[Callable[[], object]], kernel: Kernel
) -> None:
    watcher = Watcher(folder)
    (folder / "slow.csv").write_text("1")
    (folder / "done.csv").write_text("1")
    kernel.ctimes[str(folder / "done.csv")] = os.stat(folder).st_ctime_ns + 3600 * SECOND
    settling.append(lambda: (folder / "slow.csv").write_text("1234"))
    assert watcher.partitions() == ["done.csv"]
    settling.clear()
    assert watcher.partitions() == ["slow.csv"]


def test_a_file_that_leaves_while_it_settles_has_left(folder: Path, settling: list[Callable[[], object]]) -> None:
    (folder / "a.csv").write_text("1")
    settling.append((folder / "a.csv").unlink)
    assert Watcher(folder).poll() == []


def test_the_folder_may_vanish_and_come_back(folder: Path) -> None:
    watcher = Watcher(folder)
    (folder / "a.csv").write_text("1")
    watcher.poll()
    elsewhere = folder.rename(folder.parent / "elsewhere")
    answer = watcher.sensor.poll(watcher.state)
    assert isinstance(answer, NoTrigger)
    assert answer.reason == f"the folder {folder} is not there"
    elsewhere.rename(folder)
    assert watcher.poll() == []
    (folder / "b.csv").write_text("1")
    assert watcher.partitions() == ["b.csv"]


def test_another_folder_in_its_place_is_looked_at_as_a_whole(folder: Path, kernel: Kernel) -> None:
    watcher = Watcher(folder)
    (folder / "new.csv").write_text("1")
    watcher.poll()
    other = folder.parent / "other"
    other.mkdir()
    (other / "old.csv").write_text("1")
    kernel.ctimes[str(folder / "old.csv")] = 5
    folder.rename(folder.parent / "away")
    other.rename(folder)
    assert watcher.partitions() == ["old.csv"]


def test_a_clock_that_was_set_back_hides_no_file(folder: Path, kernel: Kernel) -> None:
    watcher = Watcher(folder)
    (folder / "a.csv").write_text("1")
    ahead = os.stat(folder).st_ctime_ns + 3600 * SECOND
    kernel.ctimes = {str(folder): ahead, str(folder / "a.csv"): ahead}
    assert watcher.partitions() == ["a.csv"]
    (folder / "b.csv").write_text("1")
    del kernel.ctimes[str(folder)]
    assert watcher.partitions() == ["b.csv"]
    (folder / "c.csv").write_text("1")
    assert watcher.partitions() == ["c.csv"]


def test_a_file_that_appears_behind_a_listing_is_seen_by_the_next(folder: Path, kernel: Kernel) -> None:
    watcher = Watcher(folder)
    (folder / "a.csv").write_text("1")
    watcher.poll()
    (folder / "late.csv").write_text("1")
    kernel.ctimes[str(folder / "late.csv")] = watcher.state["newest"] - SECOND
    assert watcher.partitions() == ["late.csv"]


def test_old_files_cost_nothing(folder: Path, kernel: Kernel) -> None:
    watcher = Watcher(folder)
    for number in range(20):
        (folder / f"{number}.csv").write_text("1")
        kernel.ctimes[str(folder / f"{number}.csv")] = os.stat(folder).st_ctime_ns - (100 - number) * 20 * SECOND
    watcher.poll()
    (folder / "new.csv").write_text("1")
    assert watcher.partitions() == ["new.csv"]
    assert watcher.answered == 2


def test_the_pattern_chooses_names_and_hidden_files_stay_hidden(folder: Path) -> None:
    for name in ("a.csv", "b.txt", ".c.csv"):
        (folder / name).write_text("1")
    (folder / "d.csv").mkdir()
    assert Watcher(folder, pattern="*.csv").partitions() == ["a.csv"]
    assert sorted(Watcher(folder).partitions()) == ["a.csv", "b.txt"]
    assert Watcher(folder, pattern=".*").partitions() == [".c.csv"]


def test_folders_of_the_folder_are_looked_into_when_asked(folder: Path) -> None:
    (folder / "2025-01-15" / "deep").mkdir(parents=True)
    (folder / "2025-01-15" / "deep" / "a.csv").write_text("1")
    (folder / "b.csv").write_text("1")
    os.symlink(folder, folder / "loop")
    os.symlink(folder / "nothing", folder / "dangling.csv")
    assert Watcher(folder).partitions() == ["b.csv"]
    assert sorted(Watcher(folder, recursive=True).partitions()) == ["2025-01-15", "b.csv"]
    assert Watcher(folder, recursive=True, pattern="*/deep/*.csv").partitions() == ["2025-01-15"]


def test_a_folder_that_is_moved_in_brings_its_old_files(folder: Path, kernel: Kernel) -> None:
    watcher = Watcher(folder, recursive=True)
    (folder / "a.csv").write_text("1")
    watcher.poll()
    batch = folder.parent / "batch"
    batch.mkdir()
    (batch / "old.csv").write_text("1")
    kernel.ctimes[str(folder / "batch" / "old.csv")] = 5
    batch.rename(folder / "batch")
    assert watcher.partitions() == ["batch/old.csv"]


def test_a_folder_that_leaves_while_it_is_looked_into_has_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "deep").mkdir()
    (folder / "a.csv").write_text("1")
    watcher = Watcher(folder, recursive=True)
    descend = watcher.sensor._descend

    def leaving(relative: str, changed: int) -> Any:
        (folder / "deep").rmdir()
        return descend(relative, changed)

    monkeypatch.setattr(watcher.sensor, "_descend", leaving)
    assert watcher.partitions() == ["a.csv"]


def test_what_is_there_at_the_start_may_count_as_seen(folder: Path) -> None:
    (folder / "old.csv").write_text("1")
    (folder / "older.csv").write_text("1")
    watcher = Watcher(folder, existing="ignore")
    (folder / "new.csv").write_text("1")
    assert watcher.partitions() == ["new.csv"]
    assert watcher.poll() == []
    (folder / "old.csv").write_text("12")
    assert watcher.partitions() == ["old.csv"]


def test_what_is_there_at_the_start_and_nothing_else_is_no_trigger(folder: Path) -> None:
    (folder / "old.csv").write_text("1")
    watcher = Watcher(folder, existing="ignore")
    assert watcher.poll() == []
    assert "ignore" not in watcher.state


def test_a_file_of_the_same_instant_as_the_newest_seen_still_arrives(folder: Path, kernel: Kernel) -> None:
    (folder / "old.csv").write_text("1")
    watcher = Watcher(folder, existing="ignore")
    (folder / "new.csv").write_text("1")
    kernel.ctimes[str(folder / "new.csv")] = os.stat(folder / "old.csv").st_ctime_ns
    assert watcher.partitions() == ["new.csv"]


@pytest.mark.parametrize("existing", ["trigger", "ignore"])
def test_in_a_folder_that_comes_later_everything_arrives(tmp_path: Path, existing: str) -> None:
    folder = tmp_path / "later"
    watcher = Watcher(folder, existing=existing)
    assert watcher.poll() == []
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    assert watcher.partitions() == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "partition"),
    [
        ("sales-2025-01-15.csv", "2025-01-15"),
        ("2025-99-99_2025-01-16.csv", "2025-01-16"),
        ("12025-01-15.csv", "12025-01-15.csv"),
        ("2025-99-99.csv", "2025-99-99.csv"),
        ("plain.csv", "plain.csv"),
    ],
)
def test_the_partition_is_the_first_day_in_the_name_or_the_path(folder: Path, name: str, partition: str) -> None:
    (folder / name).write_text("1")
    assert Watcher(folder).partitions() == [partition]


def test_a_function_may_make_the_partition(folder: Path) -> None:
    (folder / "a.csv").write_text("1")
    assert Watcher(folder, partition=lambda path: path.upper()).partitions() == ["A.CSV"]


def test_a_name_that_is_no_text_is_shown_escaped(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/\xff.csv", "w") as file:
        file.write("1")
    (arrival,) = Watcher(folder).poll()
    assert (arrival.partition, arrival.payload["path"]) == ("\\xff.csv", f"{folder}/\\xff.csv")
    assert arrival.key.startswith("\\xff.csv:1:")


@pytest.mark.parametrize(
    "options",
    [
        {"path": ""},
        {"path": 7},
        {"path": "x", "pattern": ""},
        {"path": "x", "pattern": None},
        {"path": "x", "existing": "skip"},
        {"path": "x", "partition": "day"},
        {"path": "x", "recursive": 1},
        {"path": "x", "settle": "soon"},
        {"path": "x", "patern": "*.csv"},
        {"path": "x", "partition_fn": str},
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FileArrival(**options)


@pytest.mark.property
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=25))
def test_every_content_of_a_file_that_a_poll_saw_arrives_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("inbox")
    watcher = Watcher(folder, settle=0)
    arrived: list[str] = []
    for number, (step, which) in enumerate([*steps, ("poll", 0), ("poll", 0)]):
        path = folder / f"{which}.csv"
        if step == "write":
            path.write_text("x" * number)
        elif step == "touch" and path.exists():
            os.utime(path)
        elif step == "rename" and path.exists():
            path.rename(folder / f"{(which + 1) % 4}.csv")
        elif step == "delete":
            path.unlink(missing_ok=True)
        elif step == "poll":
            arrived.extend(arrival.key for arrival in watcher.poll())
            there = {f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in folder.iterdir()}
            assert there <= set(arrived)
    assert len(arrived) == len(set(arrived))
