"""Bad input: one clear error at definition or start, and nothing left half started."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from flowstone.state.database import Database


def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: 1, name="raw")
    return made


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"store": "mysql://x"}, fs.ConfigError, "mysql"),
        ({"store": "flowstone.db"}, fs.ConfigError, "flowstone.db"),
        ({"max_concurrency": 0}, fs.ValidationError, "max_concurrency"),
        ({"max_queue": "many"}, fs.ValidationError, "max_queue"),
        ({"io_manager": "s3"}, fs.ValidationError, "io_manager"),
        ({"io_managers": {"mine": object()}}, fs.ValidationError, "mine"),
        ({"backend": "fibers"}, fs.ValidationError, "backend"),
    ],
)
def test_a_bad_option_of_the_runtime(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fs.Runtime(shop(), **{"store": "memory://", **options}).start()


def test_an_unknown_keyword_of_the_runtime_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(fs.ValidationError, match="max_concurrency"):
        fs.Runtime(shop(), max_concurency=4)  # type: ignore[call-arg]


def test_an_unknown_keyword_of_a_client_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(fs.ValidationError, match="Client does not take 'namspace'; did you mean 'namespace'"):
        fs.Client(shop(), namspace="x")  # type: ignore[call-arg]


def test_what_is_no_pipeline_is_refused() -> None:
    with pytest.raises(fs.ValidationError, match="expected pipelines"):
        fs.Runtime("shop")  # type: ignore[arg-type]


def test_a_store_that_can_not_be_written_leaves_nothing_half_started(tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with pytest.raises(fs.StoreUnavailable):
        fs.Runtime(shop(), store=f"sqlite:///{tmp_path}/missing/shop.db").start()
    (tmp_path / "file").write_text("x" * 4096)
    with pytest.raises(fs.StoreUnavailable, match="not a database"):
        fs.Runtime(shop(), store=f"sqlite:///{tmp_path}/file").start()
    left = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in left if not name.startswith("actors")}


def test_a_stop_over_a_store_whose_tables_are_gone_raises_and_frees_the_store_all_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    before = set(threading.enumerate())
    runtime = fs.Runtime(shop(), store=url).start()
    with sqlite3.connect(tmp_path / "shop.db") as other:
        other.execute("drop table run")
    other.close()
    with pytest.raises(Exception, match="no such table"):
        runtime.stop()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
    assert set(threading.enumerate()) <= before
    Database.open(url).close()


def test_a_pipeline_that_does_not_fit_together_never_opens_the_store(tmp_path: Path) -> None:
    broken = shop()
    broken.asset(lambda context, missing: 1, name="report")
    runtime = fs.Runtime(broken, store=f"sqlite:///{tmp_path}/shop.db")
    with pytest.raises(fs.ValidationError, match="missing"):
        runtime.start()
    assert list(tmp_path.iterdir()) == []
    assert runtime.health().status == "down"
    runtime.stop()


def test_an_asset_with_an_unknown_io_manager_is_refused_at_start() -> None:
    odd = fs.Pipeline("odd")
    odd.asset(lambda context: 1, name="raw", io_manager="s3")
    with pytest.raises(fs.ValidationError, match=r"test_bad_input.py:\d+: expected io_manager of asset 'raw'"):
        fs.Runtime(odd, store="memory://").start()


def test_requests_that_make_no_sense_are_refused_and_leave_no_row() -> None:
    days = shop()
    days.asset(lambda context: 1, name="day", partitions=fs.Daily(start="2025-01-01"))
    with fs.Runtime(days, store="memory://") as runtime:
        with pytest.raises(fs.AssetNotFound, match="did you mean 'raw'"):
            runtime.materialize("rwa")
        with pytest.raises(fs.PartitionError, match="float"):
            runtime.materialize("raw", partition=1.5)  # type: ignore[arg-type]
        with pytest.raises(fs.PartitionError, match="2024-01-01"):
            runtime.materialize("day", partition="2024-01-01")
        with pytest.raises(fs.ValidationError, match="run key"):
            runtime.materialize("raw", run_key="x" * 513)
        with pytest.raises(fs.ValidationError, match="force"):
            runtime.materialize("raw", forced=True)
        with pytest.raises(fs.RunNotFound):
            runtime.runs.get("run_x")
        with pytest.raises(fs.RunNotFound):
            runtime.runs.cancel("run_x")
        assert runtime.runs.list() == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"force": "no"}, "force to be True or False, got: 'no'"), ({"priority": 10**30}, "an int of up to 64 bits")],
)
def test_options_of_a_request_are_no_more_than_they_say(options: dict[str, Any], message: str) -> None:
    with fs.Runtime(shop(), store="memory://") as runtime:
        with pytest.raises(fs.ValidationError, match=message):
            runtime.materialize_async("raw", **options)
        assert runtime.runs.list() == ()


def test_an_unknown_status_is_no_empty_answer(store_url: str) -> None:
    with fs.Runtime(shop(), store=store_url, io_manager="memory") as runtime:
        backfill = runtime.backfill("raw", partitions=["a"])
        for ask in (
            lambda: runtime.runs.list(status="sucess"),
            lambda: runtime.materializations.list(status="sucess"),
            lambda: runtime.backfills.list(status="sucess"),
            lambda: runtime.backfills.partitions(backfill.id, status="sucess"),
        ):
            with pytest.raises(fs.ValidationError, match="expected status to be one of .*success.*, got: 'sucess'"):
                ask()


def test_the_closure_of_a_selection_is_that_of_each_of_its_assets() -> None:
    pipeline = shop()
    pipeline.asset(lambda context: 1, name="source")
    pipeline.asset(lambda context, deps: 1, name="report", depends_on=["source"])
    with fs.Runtime(pipeline, store="memory://") as runtime:
        assert set(runtime.materialize_all("raw, report")) == {"raw", "source", "report"}
        assert set(runtime.materialize_all("+report")) == {"source", "report"}
        with pytest.raises(fs.ValidationError, match="expected a selection"):
            runtime.materialize_all(["raw"])  # type: ignore[arg-type]


SELECTIONS = {
    "rwa": (fs.AssetNotFound, "did you mean 'raw'"),
    "+rwa": (fs.AssetNotFound, "did you mean 'raw'"),
    "rwa+": (fs.AssetNotFound, "did you mean 'raw'"),
    "raw, dya": (fs.AssetNotFound, "did you mean 'day'"),
    "tag:tema": (fs.AssetNotFound, "no asset has the tag 'tema'; did you mean 'team'"),
    "": (fs.ValidationError, "selection"),
    "+": (fs.ValidationError, "expected a selection: 'report', .* got: '.'"),
}


@pytest.mark.parametrize("selection", SELECTIONS, ids=repr)
def test_an_unknown_selection_is_refused_by_every_door_and_leaves_no_row(selection: str) -> None:
    days, (error, message) = shop(), SELECTIONS[selection]
    days.asset(lambda context: 1, name="day", partitions=fs.Daily(start="2025-01-01"), tags={"team": "data"})
    with fs.Runtime(days, store="memory://") as runtime:
        for ask in (
            lambda: runtime.materialize(selection),
            lambda: runtime.materialize_async(selection),
            lambda: runtime.backfill(selection, partitions=["2025-01-01"]),
            lambda: runtime.statuses(selection),
            lambda: runtime.schedules.create("nightly", cron="@daily", target=selection),
        ):
            with pytest.raises(error, match=message):
                ask()
        assert (runtime.runs.list(), runtime.backfills.list(), runtime.schedules.list()) == ((), (), ())


@pytest.mark.parametrize("asked", ["2025-01-05..2025-01-01", "2025-02-30..2025-03-01", "2025-01-01..", "..", []])
def test_a_range_that_is_none_is_refused_and_leaves_no_row(asked: Any) -> None:
    days = shop()
    days.asset(lambda context: 1, name="day", partitions=fs.Daily(start="2025-01-01"))
    with fs.Runtime(days, store="memory://") as runtime:
        for name in ("day", "raw"):
            with pytest.raises(fs.ValidationError, match="expected"):
                runtime.backfill(name, partitions=asked)
        assert (runtime.runs.list(), runtime.backfills.list()) == ((), ())


def test_a_taken_run_key_of_another_meaning_is_a_conflict() -> None:
    with fs.Runtime(shop(), store="memory://") as runtime:
        first = runtime.materialize("raw", partition="a", run_key="orders-1")
        assert runtime.materialize("raw", partition="a", run_key="orders-1").run_id == first.run_id
        with pytest.raises(fs.RunKeyConflict, match="orders-1"):
            runtime.materialize("raw", partition="b", run_key="orders-1")
        (conflict,) = runtime.runs.conflicts()
        assert (conflict.run_key, conflict.source) == ("orders-1", "manual")


def test_a_forked_child_is_told_so_in_one_error(tmp_path: Path) -> None:
    import os

    with fs.Runtime(shop(), store=f"sqlite:///{tmp_path}/shop.db") as runtime:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            try:
                runtime.materialize("raw")
            except fs.ForkedRuntime as error:
                os.write(write, str(error).encode())
            finally:
                runtime.stop()
                os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        told = os.read(read, 4096).decode()
        os.close(read)
        assert f"belongs to process {os.getpid()}" in told
        assert runtime.materialize("raw").value == 1
