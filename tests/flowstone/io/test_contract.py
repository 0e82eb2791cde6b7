"""What every IO manager does (semantics 9)."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone.errors import IOManagerError, PartitionError, ValueNotFound
from flowstone.io import DatabaseIO, FilesIO, IOContext, IOManager, StoredValue
from flowstone.io.places import PLACEMENTS, parts_of

DAY = IOContext(asset="report", partition=date(2025, 1, 15), run_id="run_a", attempt=1, fence=1)
ODD_PARTITIONS: list[Any] = [
    None, "", "a", "A", "é", "É", "x" * 400, "x" * 399 + "y", "X" * 400, "..", ".", "../../etc/passwd", "/etc/passwd",
    "a/b", "a_b", "a b", "a\\b", "~none", "a\0b", "con", "value", "value.pickle", ".parts", "2025-01-15",
    date(2025, 1, 15), datetime(2025, 1, 15), datetime(2025, 1, 15, tzinfo=UTC), 1, "1", True, "true", "True", -1,
    ("a", "b"), ("a", ("b",)), (), "i:1", "i_1", "d_2025-01-15", "*", "🙂", "a\n", "-a", "~", " ", "ß", "ss", "ſ", "s",
]


def rows(number: int) -> list[dict[str, int]]:
    """A value that every manager holds."""
    return [{"number": number}]


def test_a_manager_is_an_io_manager(manager: IOManager) -> None:
    assert isinstance(manager, IOManager)


@pytest.mark.parametrize("value", [None, 0, "", [], {"rows": [1, 2.5, None, True, "é"]}, "x" * 1_000_000])
def test_what_was_stored_is_loaded_and_none_is_a_value(manager_of_anything: IOManager, value: Any) -> None:
    stored = manager_of_anything.store(DAY, value)
    assert manager_of_anything.exists(DAY, stored)
    assert manager_of_anything.load(DAY, stored) == value


def test_where_a_value_is_survives_as_json(manager: IOManager) -> None:
    stored = manager.store(DAY, rows(1))
    again = StoredValue(**json.loads(json.dumps(asdict(stored))))
    assert again == stored
    assert manager.load(DAY, again) == rows(1)
    assert stored.bytes is not None and stored.bytes > 0


def test_what_is_not_there_is_value_not_found_never_none(manager: IOManager) -> None:
    stored = manager.store(DAY, rows(1))
    nowhere = replace(stored, location=f"{stored.location}~")
    assert not manager.exists(DAY, nowhere)
    with pytest.raises(ValueNotFound, match="report"):
        manager.load(DAY, nowhere)


def test_a_deleted_value_is_gone_and_deleting_again_is_no_error(manager: IOManager) -> None:
    stored = manager.store(DAY, rows(1))
    manager.delete(stored)
    manager.delete(stored)
    assert not manager.exists(DAY, stored)
    with pytest.raises(ValueNotFound):
        manager.load(DAY, stored)


def test_a_loaded_value_is_the_reader_s_own(manager: IOManager) -> None:
    given = rows(1)
    stored = manager.store(DAY, given)
    given.append({"number": 2})
    manager.load(DAY, stored).append({"number": 3})
    assert manager.load(DAY, stored) == rows(1)


def test_the_data_version_changes_with_the_value_only(manager: IOManager) -> None:
    first = manager.store(DAY, rows(1))
    same = manager.store(replace(DAY, run_id="run_b"), rows(1))
    other = manager.store(replace(DAY, run_id="run_c"), rows(2))
    assert first.data_version == same.data_version != other.data_version


def test_storing_an_attempt_again_replaces_its_value(manager: IOManager) -> None:
    manager.store(DAY, rows(1))
    assert manager.load(DAY, manager.store(DAY, rows(2))) == rows(2)


def test_each_odd_partition_has_a_place_of_its_own(manager: IOManager) -> None:
    stored = [manager.store(replace(DAY, partition=partition), rows(n)) for n, partition in enumerate(ODD_PARTITIONS)]
    assert len({where.location.casefold() for where in stored}) == len(ODD_PARTITIONS)
    assert [manager.load(DAY, where) for where in stored] == [rows(n) for n in range(len(ODD_PARTITIONS))]


def test_assets_that_differ_in_case_or_form_have_places_of_their_own(manager: IOManager) -> None:
    assets = ["report", "Report", "REPORT", "r", "x" * 128, "X" * 128, "a.b", "a_b", "../report", "", ".", "..", "é"]
    stored = [manager.store(replace(DAY, asset=asset), rows(n)) for n, asset in enumerate(assets)]
    assert len({where.location.casefold() for where in stored}) == len(assets)
    assert [manager.load(DAY, where) for where in stored] == [rows(n) for n in range(len(assets))]


def test_each_attempt_has_a_place_of_its_own(manager_by_attempt: IOManager) -> None:
    manager = manager_by_attempt
    attempts = [replace(DAY, run_id=run, attempt=attempt, fence=fence)
                for run in ("run_a", "run_A", "run_a.1") for attempt in (1, 2) for fence in (1, 2)]
    stored = [manager.store(context, rows(n)) for n, context in enumerate(attempts)]
    assert [manager.load(DAY, where) for where in stored] == [rows(n) for n in range(len(attempts))]


def test_losers_can_be_deleted_and_the_winner_stays(manager_by_attempt: IOManager) -> None:
    manager = manager_by_attempt
    loser, winner = manager.store(DAY, rows(1)), manager.store(replace(DAY, fence=2), rows(1))
    manager.delete(loser)
    assert not manager.exists(DAY, loser)
    assert manager.load(DAY, winner) == rows(1)


def test_a_stable_place_holds_the_newest_value_and_deleting_a_loser_leaves_it(stable_manager: IOManager) -> None:
    manager = stable_manager
    loser, winner = manager.store(DAY, rows(1)), manager.store(replace(DAY, run_id="run_b", attempt=2), rows(2))
    assert loser.location == winner.location
    manager.delete(loser)
    assert manager.load(DAY, winner) == rows(2)
    manager.delete(winner)
    assert not manager.exists(DAY, winner)


def test_values_come_from_several_threads_at_once(manager: IOManager) -> None:
    contexts = [replace(DAY, partition=n, run_id=f"run_{n}") for n in range(12)]
    with ThreadPoolExecutor(6) as threads:
        stored = list(threads.map(manager.store, contexts, map(rows, range(12))))
        loaded = list(threads.map(manager.load, contexts, stored))
    assert loaded == [rows(n) for n in range(12)]


def test_an_illegal_partition_is_refused(manager: IOManager) -> None:
    with pytest.raises(PartitionError):
        manager.store(replace(DAY, partition=1.5), rows(1))  # type: ignore[arg-type]  # that is the fault


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
hostile = texts | st.sampled_from([p for p in ODD_PARTITIONS if isinstance(p, str)])


@pytest.mark.property
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(texts, unique=True, max_size=4))
def test_different_partitions_never_share_a_place(manager: IOManager, partitions: list[str]) -> None:
    stored = [manager.store(replace(DAY, partition=p), rows(n)) for n, p in enumerate(partitions)]
    assert len({where.location.casefold() for where in stored}) == len(partitions)
    assert [manager.load(DAY, where) for where in stored] == [rows(n) for n in range(len(partitions))]


@pytest.mark.property
@given(st.lists(st.tuples(hostile, hostile), unique=True, max_size=10), st.sampled_from(sorted(PLACEMENTS)), hostile)
def test_no_hostile_name_leaves_its_root_or_meets_another(
    names: list[tuple[str, str]], placement: str, run: str
) -> None:
    root = Path("/root/of/values")
    contexts = [IOContext(asset=asset, partition=partition, run_id=run) for asset, partition in names]
    places = [PLACEMENTS[placement](context) for context in contexts]
    assert len({place.casefold() for place in places}) == len(names)
    for place in places:
        path = Path(os.path.normpath(root / place))
        assert path.is_relative_to(root) and path == root / place
        assert all(len(part.encode()) <= 240 for part in parts_of(place))


KEYS: list[Any] = [{1: "a", "1": "b"}, [{"in": ({None: 1},)}], {"x": {True: 2}}]


@pytest.mark.parametrize("value", KEYS, ids=range(len(KEYS)))
def test_json_refuses_keys_that_would_come_back_as_others(tmp_path: Path, value: Any) -> None:
    files = FilesIO(tmp_path / "files", format="json")
    for manager in (files, DatabaseIO(f"sqlite:///{tmp_path}/values.db", format="json")):
        with pytest.raises(IOManagerError, match="could not store raw: .*keys must be texts, not") as refused:
            manager.store(IOContext(asset="raw", run_id="run_a"), value)
        assert not refused.value.retryable
    assert not (tmp_path / "files").exists()
