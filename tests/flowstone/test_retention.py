"""Pruning: what is old goes in small batches, never what a live dedupe, a cursor or an unfinished run needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import flowstone as fs
import pytest

from flowstone.assembly import io_managers_of
from flowstone.errors import ValidationError
from flowstone.io import DatabaseIO, FilesIO, MemoryIO, StoredValue
from flowstone.runs.retention import CONFLICTS, FinishedRuns
from flowstone.schedules.retention import TICKS
from flowstone.sensors import Push
from flowstone.sensors.retention import DELIVERIES, EVALUATIONS
from flowstone.state.database import Database
from flowstone.state.retention import Age, prune
from flowstone.testing import ScriptedSensor

DAY = 86_400.0
Prune = Callable[..., dict[str, int]]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    return make_store_url(request.param)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database.open(url, exclusive=False) as opened:
        yield opened


@pytest.fixture
def pruned(url: str, database: Database, flowstone_clock: Any) -> Prune:
    """Prunes what is older than 30 days by the manual clock; how many rows of each kind went."""

    def run(**options: Any) -> dict[str, int]:
        histories = (TICKS, EVALUATIONS, DELIVERIES, CONFLICTS, FinishedRuns(io_managers_of(url, {}, "memory")[0]))
        return prune(database, histories, Age.of(database, flowstone_clock.now(), 30 * DAY), **options)

    return run


@pytest.fixture
def shop() -> fs.Pipeline:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: context.run_id, name="raw")
    return shop


@pytest.fixture
def started(url: str, flowstone_runtime: Callable[..., fs.Runtime]) -> Callable[..., fs.Runtime]:
    """Starts runtimes on the store; on PostgreSQL, which keeps no values, those are held in memory."""

    def start(shop: fs.Pipeline, **options: Any) -> fs.Runtime:
        values = {"io_manager": "memory"} if url.startswith("postgresql") else {}
        return flowstone_runtime(shop, store=url, **{**values, **options})

    return start


def count(database: Database, table: str) -> int:
    return int(database.read(lambda connection: connection.execute(f"select count(*) as n from {table}"))[0].n)


def test_old_ticks_and_their_superseded_runs_go_and_the_newest_value_stays(
    shop, database, pruned, started, flowstone_clock
):
    shop.schedule("daily", cron="0 0 * * *", target="raw", partition=lambda instant: None)
    runtime = started(shop)
    for _day in range(40):
        flowstone_clock.advance(DAY)
    runtime.drain(timeout=20)
    newest = runtime.get("raw")
    removed = pruned()
    assert (removed["ticks"], removed["runs"]) == (10, 10)
    assert count(database, "materialization") == count(database, "run") == 30
    assert runtime.get("raw") == newest
    assert pruned()["ticks"] == 0


def test_batches_of_any_size_remove_the_same_and_tell_of_their_progress(
    shop, database, pruned, started, flowstone_clock
):
    shop.schedule("daily", cron="0 0 * * *", target="raw", enabled=False)
    started(shop)
    for _day in range(40):
        flowstone_clock.advance(DAY)
    told: list[tuple[str, int]] = []
    age = Age.of(database, flowstone_clock.now(), 30 * DAY)
    aged = database.read(lambda connection: TICKS.aged(connection, age))
    prunable = database.read(lambda connection: TICKS.prunable(connection, age))
    removed = pruned(batch=3, progress=lambda *step: told.append(step))
    assert removed["ticks"] == aged == prunable == 10
    assert [looked for what, looked in told if what == "ticks"] == [3, 3, 3, 1]


def test_the_only_value_of_a_partition_stays_with_its_run(shop, pruned, started, flowstone_clock):
    runtime = started(shop)
    run_ids = [runtime.materialize("raw", partition=f"p{number}").run_id for number in range(3)]
    flowstone_clock.advance(40 * DAY)
    assert pruned()["runs"] == 0
    assert [runtime.get("raw", partition=f"p{number}") for number in range(3)] == run_ids


def test_a_value_that_was_superseded_is_deleted_with_its_row(shop, pruned, started, flowstone_clock):
    runtime = started(shop)
    old, new = runtime.materialize("raw"), runtime.materialize("raw")
    stored = runtime.materializations.list(run_id=old.run_id)[0].stored
    manager = runtime.settings.io[stored.manager]
    flowstone_clock.advance(40 * DAY)
    assert pruned()["runs"] == 1
    with pytest.raises(fs.RunNotFound):
        runtime.runs.get(old.run_id)
    if stored.manager == "files":
        assert not manager._tree.path(stored.location).exists()
    assert runtime.get("raw") == new.run_id


@pytest.mark.parametrize("where", ["files", "database"])
def test_a_stable_place_that_still_holds_the_newest_value_stays_when_an_older_run_goes(
    database, started, flowstone_clock, tmp_path, where
):
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: {"rate": 1}, name="rate")
    managers = {
        "files": FilesIO(tmp_path / "values", placement="stable"),
        "database": DatabaseIO(f"sqlite:///{tmp_path}/values.db", placement="stable"),
    }
    runtime = started(shop, io_managers=managers, io_manager=where)
    runtime.materialize("rate")
    flowstone_clock.advance(40 * DAY)
    runtime.materialize("rate")
    age = Age.of(database, flowstone_clock.now(), 30 * DAY)
    assert prune(database, [FinishedRuns(managers)], age) == {"runs": 1}
    assert runtime.exists("rate")
    assert runtime.get("rate") == {"rate": 1}


def test_a_value_that_cannot_be_deleted_keeps_its_run_and_no_other(shop, database, started, flowstone_clock, caplog):
    class Careful(MemoryIO):
        kept = ""

        def delete(self, stored: StoredValue) -> None:
            if self.kept in stored.location:
                raise PermissionError("not yours")
            super().delete(stored)

    managers = {"careful": Careful()}
    runtime = started(shop, io_managers=managers, io_manager="careful")
    made = [runtime.materialize("raw").run_id for _ in range(4)]
    managers["careful"].kept = made[1]
    flowstone_clock.advance(40 * DAY)
    age = Age.of(database, flowstone_clock.now(), 30 * DAY)
    assert prune(database, [FinishedRuns(managers)], age) == {"runs": 2}
    assert [run.run_id for run in runtime.runs.list()] == [made[3], made[1]]
    assert "can't be deleted: not yours" in caplog.text
    managers["careful"].kept = "nothing"
    assert prune(database, [FinishedRuns(managers)], age) == {"runs": 1}


def test_what_a_run_read_and_asked_goes_with_it(shop, pruned, started, flowstone_clock):
    ask = fs.Asset(lambda context, raw: fs.WaitForApproval("ok?") if context.approval is None else raw, name="asks")
    shop.add(ask)
    runtime = started(shop)
    runs = []
    for _ in range(2):
        runs.append(runtime.materialize_async("raw asks"))
        runtime.drain(timeout=20)
        runtime.approvals.approve(runtime.approvals.list_pending()[0].id)
        runs[-1].result(timeout=20)
    flowstone_clock.advance(40 * DAY)
    assert pruned()["runs"] == 1
    for table in ("lineage_edge", "approval"):
        sql = f"select run_id from {table}"
        left = runtime._services.database.read(lambda connection, sql=sql: connection.execute(sql))
        assert [row.run_id for row in left] == [runs[1].run_id]


def test_a_value_of_an_unknown_io_manager_keeps_its_run(shop, pruned, started, flowstone_clock):
    other = fs.Runtime(shop, store="memory://").settings.io["memory"]
    runtime = started(shop, io_managers={"other": other}, io_manager="other")
    runtime.materialize("raw")
    runtime.materialize("raw")
    flowstone_clock.advance(40 * DAY)
    assert pruned()["runs"] == 0


def test_a_key_of_the_user_stands_for_its_run_after_the_run_is_gone(
    shop, database, pruned, started, flowstone_clock
):
    runtime = started(shop)
    first = runtime.materialize("raw", run_key="once")
    runtime.materialize("raw")
    flowstone_clock.advance(40 * DAY)
    assert pruned()["runs"] == 1
    assert runtime.materialize_async("raw", run_key="once").run_id == first.run_id
    assert count(database, "run") == 1


def test_a_key_that_is_used_once_goes_with_its_run(shop, database, pruned, started, flowstone_clock):
    runtime = started(shop)
    runtime.materialize("raw")
    runtime.materialize("raw")
    flowstone_clock.advance(40 * DAY)
    pruned()
    assert count(database, "run_key") == 1


@pytest.mark.parametrize(
    ("dedupe", "left"), [("forever", 1), ("until_success", 2), ("window:60d", 2), ("window:5d", 1)]
)
def test_what_a_dedupe_scope_still_asks_for_stays(
    shop, database, pruned, started, flowstone_clock, dedupe, left
):
    shop.schedule("daily", cron="0 0 * * *", target="raw", dedupe=dedupe, partition=lambda instant: None)
    runtime = started(shop, scheduler=False)
    noon = flowstone_clock.now().replace(hour=0) + timedelta(days=1)
    runtime.schedules.trigger("daily", at=noon)
    runtime.drain(timeout=20)
    runtime.materialize("raw")
    flowstone_clock.advance(40 * DAY)
    pruned()
    assert count(database, "run") == left


def test_a_tick_made_before_its_time_stays(shop, database, pruned, started, flowstone_clock):
    shop.schedule("yearly", cron="0 0 1 1 *", target="raw")
    runtime = started(shop)
    runtime.schedules.trigger("yearly", at=datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
    runtime.drain(timeout=20)
    flowstone_clock.advance(40 * DAY)
    assert pruned()["ticks"] == 0
    assert count(database, "tick") == 1


def test_what_belongs_to_an_unfinished_run_stays(shop, url, database, pruned, flowstone_clock):
    scripted = ScriptedSensor()
    shop.sensor("files", scripted, every=None, target="raw")
    shop.schedule("yearly", cron="0 0 1 1 *", target="raw")
    with fs.Client(shop, store=url) as client:
        scripted.set_next(fs.Trigger("a"), fs.NoTrigger())
        client.schedules.trigger("yearly")
        client.sensors.poll("files")
        client.sensors.poll("files")
        future = client.schedules.history("yearly")[0].at + timedelta(days=40)
    age = Age.of(database, future, 30 * DAY)
    assert prune(database, (TICKS, EVALUATIONS), age) == {"ticks": 0, "evaluations": 0}


def test_the_poll_that_left_the_cursor_stays(shop, pruned, started, flowstone_clock):
    scripted = ScriptedSensor()
    shop.sensor("files", scripted, every=None, target="raw")
    runtime = started(shop)
    scripted.set_next(fs.NoTrigger(state=1), fs.NoTrigger(state=2), ValueError("broken"))
    for _poll in range(3):
        runtime.sensors.poll("files")
    flowstone_clock.advance(40 * DAY)
    assert pruned()["evaluations"] == 2
    (left,) = runtime.sensors.history("files")
    assert left.cursor_after["state"] == runtime.sensors.get("files").state == 2


@pytest.mark.parametrize(("dedupe", "known"), [("forever", True), ("window:1d", False)])
def test_a_message_id_is_known_for_as_long_as_the_dedupe_scope_says(
    shop, url, pruned, started, flowstone_clock, dedupe, known
):
    shop.sensor("orders", Push(), target="raw", dedupe=dedupe)
    runtime = started(shop)
    first = runtime.sensors.push("orders", {"n": 1}, message_id="m-1")
    runtime.drain(timeout=20)
    flowstone_clock.advance(40 * DAY)
    pruned()
    again = runtime.sensors.push("orders", {"n": 1}, message_id="m-1")
    assert (again.at == first.at) is known


def test_failed_pushes_of_one_id_go_from_the_newest_on(shop, pruned, started, flowstone_clock):
    shop.sensor("orders", Push(), target="raw", partition=lambda message: 1 / 0)
    runtime = started(shop)
    runtime.sensors.push("orders", {}, message_id="m-1")
    old = runtime.sensors.push("orders", {}, message_id="m-1")
    flowstone_clock.advance(40 * DAY)
    assert pruned()["evaluations"] == 1
    assert runtime.sensors.push("orders", {}, message_id="m-1").eval_id == old.eval_id
    assert len(runtime.sensors.history("orders")) == 2


def test_deliveries_go_when_they_were_made_and_stay_when_they_are_parked(
    shop, database, pruned, started, flowstone_clock
):
    scripted = ScriptedSensor()
    shop.sensor("files", scripted, every=None, on_trigger=lambda event: 1 / (event.partition != "bad"))
    runtime = started(shop)
    scripted.set_next(fs.Trigger("good", "bad"))
    runtime.sensors.poll("files")
    flowstone_clock.advance(40 * DAY)
    assert pruned()["deliveries"] == 1
    (left,) = runtime.sensors.deliveries("files")
    assert (left.partition, left.status) == ("bad", "failed")


def test_history_is_kept_for_an_hour_at_least(database, flowstone_clock):
    with pytest.raises(ValidationError, match="an hour at least"):
        Age.of(database, flowstone_clock.now(), 3599)
