"""Values in files, beyond the contract: where they are, and what an interrupted write leaves."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from flowstone.errors import IOManagerError, PartitionError, ValidationError, ValueNotFound
from flowstone.io import FilesIO, IOContext, StoredValue

CONTEXT = IOContext(asset="raw", partition=date(2025, 1, 15), run_id="run_a", attempt=2, fence=7)


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_an_asset_has_a_folder_a_partition_has_one_below_and_an_attempt_has_a_file(tmp_path: Path) -> None:
    stored = FilesIO(tmp_path).store(CONTEXT, 1)
    assert stored.location == "raw/2025-01-15/run_a.2.7.pickle"
    assert files_below(tmp_path) == {stored.location}


def test_a_stable_place_is_one_known_path_replaced_each_time(tmp_path: Path) -> None:
    files = FilesIO(tmp_path, format="json", placement="stable")
    files.store(CONTEXT, [1])
    latest = files.store(replace(CONTEXT, run_id="run_b"), [2])
    assert files_below(tmp_path) == {"raw/2025-01-15/value.json"}
    assert json.loads((tmp_path / latest.location).read_text()) == [2]


def test_deleting_a_loser_leaves_what_took_its_stable_place(tmp_path: Path) -> None:
    files = FilesIO(tmp_path, placement="stable")
    loser = files.store(CONTEXT, 1)
    winner = files.store(CONTEXT, 2)
    files.delete(loser)
    assert files.load(CONTEXT, winner) == 2


@pytest.mark.parametrize("location", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/./b", "a\0b", "a/"])
def test_no_location_leaves_the_root(tmp_path: Path, location: str) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps(1))
    files, stored = FilesIO(tmp_path / "root"), StoredValue("files", location, "v")
    for call in (lambda: files.load(CONTEXT, stored), lambda: files.exists(CONTEXT, stored),
                 lambda: files.delete(stored)):
        with pytest.raises(IOManagerError, match="below the root"):
            call()
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["../../up", "/abs", "..", "a/b", "\0", "x" * 5000])
def test_no_asset_run_or_partition_leaves_the_root(tmp_path: Path, name: str) -> None:
    root = tmp_path / "deep" / "root"
    stored = FilesIO(root).store(replace(CONTEXT, asset=name, run_id=name, partition=name), 1)
    assert len(files_below(tmp_path)) == 1
    assert (root / stored.location).is_file()
    assert (root / stored.location).resolve().is_relative_to(root.resolve())


def test_the_root_may_be_moved_and_the_format_changed(tmp_path: Path) -> None:
    stored = FilesIO(tmp_path / "old").store(CONTEXT, {1: (2,)})
    (tmp_path / "old").rename(tmp_path / "new")
    assert FilesIO(tmp_path / "new", format="json").load(CONTEXT, stored) == {1: (2,)}


def test_a_relative_root_is_that_of_the_time_of_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = FilesIO("values")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    files.store(CONTEXT, 1)
    assert (tmp_path / "values").is_dir()


@pytest.mark.parametrize(
    ("form", "value"),
    [("json", {1, 2}), ("json", float("nan")), ("json", object()), ("json", "\ud800"), ("pickle", lambda: 1)],
)
def test_what_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path: Path, form: Any, value: Any) -> None:
    with pytest.raises(IOManagerError, match=f"a value that {form} can hold") as refused:
        FilesIO(tmp_path, format=form).store(CONTEXT, value)
    assert not refused.value.retryable
    assert refused.value.__cause__ is not None
    assert files_below(tmp_path) == set()


def test_an_illegal_partition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PartitionError):
        FilesIO(tmp_path).store(replace(CONTEXT, partition=1.5), 1)


def test_a_file_that_holds_no_value_is_an_error_and_not_a_value(tmp_path: Path) -> None:
    files = FilesIO(tmp_path)
    stored = files.store(CONTEXT, list(range(100)))
    path = tmp_path / stored.location
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(IOManagerError, match="could not load"):
        files.load(CONTEXT, stored)


def test_a_place_below_a_file_is_value_not_found(tmp_path: Path) -> None:
    files = FilesIO(tmp_path)
    stored = files.store(CONTEXT, 1)
    below = replace(stored, location=f"{stored.location}/more")
    with pytest.raises(ValueNotFound):
        files.load(CONTEXT, below)
    files.delete(below)


def test_what_the_disk_refuses_to_read_or_delete_is_a_retryable_error(tmp_path: Path) -> None:
    files = FilesIO(tmp_path)
    folder = replace(files.store(CONTEXT, 1), location="raw/2025-01-15")
    for call in (lambda: files.load(CONTEXT, folder), lambda: files.delete(folder)):
        with pytest.raises(IOManagerError, match="could not (load|delete)") as refused:
            call()
        assert refused.value.retryable
    assert not files.exists(CONTEXT, folder)


def test_a_manager_shows_its_root_and_options(tmp_path: Path) -> None:
    assert repr(FilesIO(tmp_path, format="json")) == f"FilesIO({str(tmp_path)!r}, format='json', placement='attempt')"


def test_a_root_that_cannot_be_written_is_a_retryable_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IOManagerError, match="could not store raw at .* below .*file") as refused:
        FilesIO(tmp_path / "file").store(CONTEXT, 1)
    assert refused.value.retryable
    assert isinstance(refused.value.__cause__, OSError)


@pytest.mark.parametrize(
    "options",
    [{"root": ""}, {"root": None}, {"root": 3}, {"format": "jsn"}, {"format": None}, {"placement": "atempt"}],
)
def test_bad_options_are_refused_where_they_are_given(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected (root|format|placement)"):
        FilesIO(**{"root": tmp_path, **options})


def test_a_value_is_synced_before_it_gets_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FilesIO(tmp_path)
    files.store(CONTEXT, 0)
    steps: list[str] = []
    sync, rename = os.fsync, os.replace

    def recorded_sync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def recorded_rename(source: Any, target: Any) -> None:
        steps.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "replace", recorded_rename)
    files.store(CONTEXT, 1)
    assert steps == ["file", "rename", "folder"]
    files.store(replace(CONTEXT, asset="other"), 1)
    assert steps[3:] == ["folder", "folder", "file", "rename", "folder"]


def test_a_write_that_fails_leaves_the_old_value_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FilesIO(tmp_path)
    stored = files.store(CONTEXT, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(IOManagerError, match="No space left"):
        files.store(CONTEXT, "new")
    monkeypatch.undo()
    assert files.load(CONTEXT, stored) == "old"
    assert files_below(tmp_path) == {stored.location}


WRITER = """
import sys
from flowstone.io import FilesIO, IOContext
files = FilesIO(sys.argv[1], placement=sys.argv[2])
for n in range(1_000_000):
    print(n, flush=True)
    files.store(IOContext(asset="raw", partition=n % 3, run_id="run_a", attempt=n), b"x" * 300_000)
"""


@pytest.mark.crash
@pytest.mark.parametrize("placement", ["attempt", "stable"])
def test_a_killed_writer_leaves_whole_values_only(tmp_path: Path, placement: Any) -> None:
    for kill in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), placement], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(random.randint(1, 12)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        values = [path for path in tmp_path.rglob("*.pickle") if path.is_file()]
        assert all(pickle.loads(path.read_bytes()) == b"x" * 300_000 for path in values), kill
    FilesIO(tmp_path).store(CONTEXT, 1)
    assert not [path for path in tmp_path.rglob("*.part")]


def test_only_parts_of_dead_processes_of_this_host_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    own = FilesIO(tmp_path)
    own.store(CONTEXT, 1)
    host = "".join(c if c.isalnum() else "_" for c in os.uname().nodename)
    kept = {f".parts/{host}-{os.getpid()}-a.part", f".parts/elsewhere-{dead.pid}-a.part", ".parts/note.txt"}
    for name in {*kept, f".parts/{host}-{dead.pid}-a.part", f".parts/{host}-{10**30}-a.part"}:
        (tmp_path / name).write_bytes(b"half")
    stored = FilesIO(tmp_path).store(CONTEXT, 1)
    assert files_below(tmp_path) == kept | {stored.location}


def test_the_part_of_another_user_s_process_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    host = "".join(c if c.isalnum() else "_" for c in os.uname().nodename)
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / f"{host}-1-a.part").write_bytes(b"half")
    monkeypatch.setattr(os, "kill", forbidden)
    FilesIO(tmp_path).store(CONTEXT, 1)
    assert (tmp_path / ".parts" / f"{host}-1-a.part").exists()
