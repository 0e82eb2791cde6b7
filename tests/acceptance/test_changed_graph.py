"""A graph that changed under queued and waiting runs: each ends with a clear error, or goes on; none is left behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock

FINISHED = {"success", "failed", "skipped", "cancelled"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    return make_store_url(request.param)


def pipeline(*assets: fs.Asset) -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.add(*assets)
    return made


def asset(name: str, *needs: str, **options: Any) -> fs.Asset:
    return fs.Asset(lambda context, deps: name, name=name, depends_on=list(needs), **options)


def asked(url: str, selection: str, *assets: fs.Asset, **options: Any) -> str:
    """The id of a run that was asked for under these definitions, and not begun."""
    with fs.Client(pipeline(*assets), store=url) as client:
        return client.materialize_async(selection, **options).run_id


def run_under(url: str, run_id: str, *assets: fs.Asset) -> tuple[str, dict[str, tuple[str, str]]]:
    """What the run comes to under these definitions: its status, and its assets' statuses and errors or reasons."""
    clock = ManualClock(datetime.now(UTC))
    with fs.Runtime(pipeline(*assets), store=url, io_manager="memory", clock=clock) as runtime:
        runtime.drain(timeout=20)
        clock.advance("90m")
        runtime.drain(timeout=20)
        run = runtime.runs.get(run_id)
    rows = {row.asset: (row.status.value, row.error or row.reason or "") for row in run.materializations}
    assert {status for status, _ in rows.values()} <= FINISHED
    return run.status.value, rows


def test_an_asset_that_was_renamed_fails_by_name_and_what_depends_on_it_is_skipped(url: str) -> None:
    run_id = asked(url, "+report", asset("raw"), asset("aside"), asset("report", "raw", "aside"))
    status, rows = run_under(url, run_id, asset("raw_v2"), asset("aside"), asset("report", "raw_v2", "aside"))
    assert status == "failed"
    assert rows["raw"] == ("failed", "asset_not_found: asset 'raw' not found; did you mean 'raw_v2'?")
    assert rows["aside"][0] == "success"
    assert rows["report"][0] == "failed"
    assert rows["report"][1].startswith("dependency_not_ready: raw_v2 has no value")


def test_a_run_whose_assets_are_all_gone_fails(url: str) -> None:
    run_id = asked(url, "*", asset("raw"), asset("report", "raw"))
    status, rows = run_under(url, run_id, asset("other"))
    assert status == "failed"
    assert {row[0] for row in rows.values()} == {"failed"}


def test_dependencies_that_were_turned_round_are_heeded(url: str) -> None:
    run_id = asked(url, "*", asset("a"), asset("b", "a"), asset("c", "b"))
    order: list[str] = []

    def noting(name: str, *needs: str) -> fs.Asset:
        return fs.Asset(lambda context, deps: order.append(name), name=name, depends_on=list(needs))

    status, _ = run_under(url, run_id, noting("c"), noting("b", "c"), noting("a", "b"))
    assert (status, order) == ("success", ["c", "b", "a"])


def test_a_failure_skips_what_depends_on_it_now_however_the_run_was_ordered(url: str) -> None:
    run_id = asked(url, "*", asset("a"), asset("b", "a"), asset("c", "b"))

    def broken(context: fs.Context) -> None:
        raise ValueError("no")

    status, rows = run_under(url, run_id, fs.Asset(broken, name="c"), asset("b", "c"), asset("a", "b"))
    assert (status, {name: row[0] for name, row in rows.items()}) == (
        "failed",
        {"a": "skipped", "b": "skipped", "c": "failed"},
    )


def test_a_partition_that_has_nothing_to_do_with_the_sets_any_more_is_a_failed_attempt(url: str) -> None:
    days, regions = fs.Daily(start="2025-01-01"), fs.Static(["eu"])
    before = [asset("raw", partitions=days), asset("report", "raw", partitions=days)]
    run_id = asked(url, "report", *before, partition=date(2025, 1, 1))
    status, rows = run_under(url, run_id, asset("raw", partitions=regions), asset("report", "raw", partitions=regions))
    assert status == "failed"
    assert rows["report"][1].startswith("partition_error: ")


def test_an_approval_of_an_asset_that_is_gone_ends_its_run(url: str) -> None:
    asks = fs.Asset(lambda context: fs.WaitForApproval("ok?"), name="asks")
    with fs.Runtime(pipeline(asks, asset("report", "asks")), store=url, io_manager="memory") as runtime:
        run_id = runtime.materialize_async("*").run_id
        runtime.drain(timeout=20)
        [approval] = runtime.approvals.list_pending()
    with fs.Runtime(pipeline(asset("other")), store=url, io_manager="memory") as runtime:
        runtime.approvals.approve(approval.id, by="ann")
        runtime.drain(timeout=20)
        run = runtime.runs.get(run_id)
    assert run.status == "failed"
    assert {row.asset: row.status for row in run.materializations} == {"asks": "failed", "report": "failed"}


def test_a_retry_of_what_is_not_defined_any_more_is_refused(url: str) -> None:
    run_id = asked(url, "raw", asset("raw"))
    run_under(url, run_id, asset("other"))
    with fs.Client(pipeline(asset("other")), store=url) as client, pytest.raises(fs.AssetNotFound, match="'raw'"):
        client.runs.retry(run_id)
