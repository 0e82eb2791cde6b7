"""Tables in Parquet files, beyond the contract: their forms, and what is no table."""

import builtins
import random
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowstone.errors import IOManagerError, ValidationError
from flowstone.io import IOContext, ParquetIO, StoredValue

CONTEXT = IOContext(asset="raw", partition=date(2025, 1, 15), run_id="run_a", attempt=2, fence=7)
MOMENT = datetime(2025, 1, 15, 2, 30, 0, 1, tzinfo=UTC)
TABLES: list[Any] = [
    [],
    [{"a": 1, "b": None}, {"a": None, "b": "é"}],
    [{"day": date(2025, 1, 15), "at": MOMENT, "sum": Decimal("1.50"), "raw": b"\0\xff", "in": [1, 2], "of": {"x": 1}}],
    {},
    {"a": [1, 2, 3], "b": [1.5, None, -0.0]},
    {"a": []},
    pa.table({"a": pa.array([1, 2], pa.int16()), "b": pa.array(["x", None]).dictionary_encode()}),
    pa.table({"a": [1]}).replace_schema_metadata({"owner": "data"}),
    pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]),
]


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_a_table_comes_back_in_the_form_in_which_it_was_stored(tmp_path: Path, table: Any) -> None:
    manager = ParquetIO(tmp_path)
    loaded = manager.load(CONTEXT, manager.store(CONTEXT, table))
    assert loaded == table
    assert type(loaded) is type(table)
    if isinstance(table, pa.Table):
        assert loaded.schema.equals(table.schema, check_metadata=True)


def test_other_tools_read_the_file_and_a_file_of_theirs_is_a_table(tmp_path: Path) -> None:
    manager = ParquetIO(tmp_path, placement="stable")
    stored = manager.store(CONTEXT, [{"a": 1}, {"a": 2}])
    assert stored.location == "raw/2025-01-15/value.parquet"
    path = tmp_path / stored.location
    assert pq.read_table(path).column("a").to_pylist() == [1, 2]
    pq.write_table(pa.table({"a": [3]}), path)
    assert manager.load(CONTEXT, stored) == pa.table({"a": [3]})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "neither rows nor columns"),
        ("text", "neither rows nor columns"),
        ({1, 2}, "neither rows nor columns"),
        ((n for n in range(3)), "neither rows nor columns"),
        ([1, 2], "row 0 is no dict"),
        ([{}], "row 0 is no dict with keys"),
        ([{"a": 1}, {"b": 1}], "keys of row 1"),
        ([{"a": 1}, {"a": 1, "b": 2}], "keys of row 1"),
        ([{"a": 1}, {"a": "x"}], "Arrow"),
        ([{"a": object()}], "Arrow"),
        ([{"a": 2**80}], "OverflowError|Arrow"),
        ({"a": [1], "b": [1, 2]}, "Arrow"),
        ({"a": 1}, "Error"),
        ({"a": "xyz"}, "column 'a' is no list: 'xyz'"),
        ({"a": [1], "b": b"x"}, "column 'b' is no list"),
        ({"a": {"x": 1}}, "column 'a' is no list"),
        ({"a": {1}}, "column 'a' is no list"),
    ],
    ids=range(17),
)
def test_what_is_no_table_is_refused_and_leaves_nothing(tmp_path: Path, value: Any, reason: str) -> None:
    with pytest.raises(IOManagerError, match=f"could not store raw: expected a table: .*({reason})") as refused:
        ParquetIO(tmp_path).store(CONTEXT, value)
    assert not refused.value.retryable
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_table_is_an_error_and_not_a_value(tmp_path: Path) -> None:
    manager = ParquetIO(tmp_path)
    stored = manager.store(CONTEXT, [{"a": 1}])
    (tmp_path / stored.location).write_bytes(b"half")
    with pytest.raises(IOManagerError, match="could not load .*parquet"):
        manager.load(CONTEXT, stored)


def test_no_location_leaves_the_root(tmp_path: Path) -> None:
    manager = ParquetIO(tmp_path / "root")
    with pytest.raises(IOManagerError, match="below the root"):
        manager.load(CONTEXT, StoredValue("parquet", "../x", "v"))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(IOManagerError, match=r"pip install 'flowstone\[parquet\]'"):
        ParquetIO(tmp_path).store(CONTEXT, [])


@pytest.mark.parametrize("options", [{"root": ""}, {"root": 3}, {"placement": "atempt"}])
def test_bad_options_are_refused_where_they_are_given(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected (root|placement)"):
        ParquetIO(**{"root": tmp_path, **options})


WRITER = """
import sys
from flowstone.io import IOContext, ParquetIO
values = ParquetIO(sys.argv[1], placement="stable")
for n in range(1_000_000):
    print(n, flush=True)
    values.store(IOContext(asset="raw", partition=n % 3, run_id="run_a"), {"n": [n] * 50_000, "text": ["x"] * 50_000})
"""


@pytest.mark.crash
def test_a_killed_writer_leaves_whole_tables_only(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(random.randint(2, 12)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        tables = [pq.read_table(path) for path in tmp_path.rglob("*.parquet")]
        assert all(table.num_rows == 50_000 and len(set(table["n"].to_pylist())) == 1 for table in tables)
