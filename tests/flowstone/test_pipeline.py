"""Pipelines: what is refused where it is defined, and what is found when the whole is checked."""

from __future__ import annotations

from typing import Any

import flowstone as fs
import pytest
from flowstone.testing import ScriptedSensor


def test_definitions_are_listed_in_order() -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")

    @shop.asset(name="report", tags={"team": "data"})
    def made(context: Any, raw: Any) -> None:
        """A report."""

    nightly = shop.schedule("nightly", cron="@daily", target="report")
    files = shop.sensor("files", ScriptedSensor(), every="30s", target="raw")
    assert [asset.name for asset in shop.assets] == ["raw", "report"]
    assert (shop.schedules, shop.sensors) == ([nightly], [files])
    assert (made.name, made.depends_on) == ("report", ("raw",))
    assert (files.name, files.type, files.poll_interval) == ("files", ScriptedSensor, 30.0)
    assert shop.graph.order() == ("raw", "report")
    assert shop.graph.downstream("raw") == ("report",)
    assert shop.check() is None


def test_plain_values_can_be_added() -> None:
    shop = fs.Pipeline("shop")
    shop.add(
        fs.Asset(lambda context: 1, name="raw"),
        fs.Schedule("raw", cron="@daily"),
        fs.SensorSpec("raw", ScriptedSensor()),
    )
    assert shop.check() is None
    with pytest.raises(fs.ValidationError, match="expected an Asset, a Schedule or a SensorSpec"):
        shop.add(5)  # type: ignore[arg-type]


def test_a_taken_name_is_refused_and_names_the_first_place() -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    shop.schedule("nightly", cron="@daily", target="raw")
    with pytest.raises(fs.ValidationError, match=r"defined already, at .*test_pipeline.py:\d+"):
        shop.asset(lambda context: 2, name="raw")
    with pytest.raises(fs.ValidationError, match="nightly"):
        shop.schedule("nightly", cron="@daily", target="raw")
    assert len(shop.assets) == len(shop.schedules) == 1


def test_what_is_no_sensor_is_refused() -> None:
    with pytest.raises(fs.ValidationError, match="to be a Sensor"):
        fs.Pipeline("shop").sensor("files", object(), target="raw")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "two words", "ä", "x" * 129, "-x", None, 5])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(fs.ValidationError):
        fs.Pipeline(name)


def test_all_problems_come_at_once_each_with_file_and_line() -> None:
    shop = fs.Pipeline("shop")
    shop.asset(lambda context: 1, name="raw")
    shop.asset(lambda context, rwa: 1, name="report")
    shop.asset(lambda context, b: 1, name="a")
    shop.asset(lambda context, a: 1, name="b")
    shop.schedule("nightly", cron="@daily", target="repotr")
    shop.sensor("files", ScriptedSensor(), target="file")
    with pytest.raises(fs.ValidationError) as raised:
        shop.check()
    kinds = [fs.AssetNotFound, fs.CycleError, fs.AssetNotFound, fs.AssetNotFound]
    assert [type(problem) for problem in raised.value.problems] == kinds
    unknown, cycle, schedule, _sensor = raised.value.problems
    assert "did you mean 'raw'" in str(unknown)
    assert "a -> b -> a" in str(cycle)
    assert "repotr" in str(schedule)
    for problem in raised.value.problems:
        assert f"{__file__}:" in str(problem)
        assert str(problem) in str(raised.value)


def test_targets_may_be_assets_of_another_pipeline_of_the_same_runtime() -> None:
    shop, jobs = fs.Pipeline("shop"), fs.Pipeline("jobs")
    shop.asset(lambda context: 1, name="raw")
    jobs.schedule("nightly", cron="@daily", target="raw")
    with pytest.raises(fs.ValidationError):
        jobs.check()
    with fs.Runtime(shop, jobs, store="memory://") as runtime:
        assert runtime.schedules.trigger("nightly").status == "triggered"


def test_a_name_taken_by_two_pipelines_is_found_at_start() -> None:
    shop, jobs = fs.Pipeline("shop"), fs.Pipeline("jobs")
    for pipeline in (shop, jobs):
        pipeline.schedule("nightly", cron="@daily", target="raw")
    shop.asset(lambda context: 1, name="raw")
    with pytest.raises(fs.ValidationError, match="defined already"):
        fs.Runtime(shop, jobs, store="memory://").start()
