"""The test cases of the Elixir design, schedules: each test bears the name of its case (see docs/elixir-map.md)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.testing import assert_enqueued, assert_materialized

Make = Callable[..., fs.Runtime]


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def runtime(flowstone_runtime: Make, backend: str) -> fs.Runtime:
    """A runtime of three assets, without schedules."""
    shop = fs.Pipeline("shop")
    for name in ("daily_report", "hourly_metrics", "default_partition"):
        shop.asset(lambda context: context.partition, name=name)
    return flowstone_runtime(shop, backend=backend)


class TestCreate:
    def test_creates_valid_schedule(self, runtime: fs.Runtime) -> None:
        created = runtime.schedules.create(
            "daily_report", cron="0 2 * * *", timezone="America/New_York", partition=fs.this_day
        )
        assert (created.name, created.target, created.cron) == ("daily_report", "daily_report", "0 2 * * *")
        assert (created.timezone, created.enabled, created.last_scheduled_for) == ("America/New_York", True, None)

    def test_validates_cron_expression(self, runtime: fs.Runtime) -> None:
        with pytest.raises(fs.CronError, match="invalid cron") as raised:
            runtime.schedules.create("daily_report", cron="invalid cron")
        assert isinstance(raised.value, fs.ValidationError)
        assert raised.value.type == "cron_error"
        assert runtime.schedules.list() == ()

    def test_rejects_duplicate_asset_schedules(self, runtime: fs.Runtime) -> None:
        runtime.schedules.create("daily_report", cron="0 * * * *")
        with pytest.raises(fs.ValidationError, match="daily_report") as raised:
            runtime.schedules.create("daily_report", cron="0 * * * *")
        assert raised.value.type == "validation_error"
        # It is the name that is taken: the same asset may have a second schedule under another one.
        runtime.schedules.create("daily_report_again", cron="0 * * * *", target="daily_report")
        assert [row.name for row in runtime.schedules.list()] == ["daily_report", "daily_report_again"]


class TestGet:
    def test_retrieves_existing_schedule(self, runtime: fs.Runtime) -> None:
        created = runtime.schedules.create("daily_report", cron="0 * * * *")
        assert runtime.schedules.get("daily_report") == created

    def test_returns_error_for_nonexistent_schedule(self, runtime: fs.Runtime) -> None:
        with pytest.raises(fs.ScheduleNotFound, match="nonexistent") as raised:
            runtime.schedules.get("nonexistent")
        assert raised.value.type == "schedule_not_found"


class TestDelete:
    def test_removes_existing_schedule(self, runtime: fs.Runtime, flowstone_clock: ManualClock) -> None:
        runtime.schedules.create("daily_report", cron="0 * * * *")
        runtime.schedules.delete("daily_report")
        with pytest.raises(fs.ScheduleNotFound):
            runtime.schedules.get("daily_report")
        flowstone_clock.advance("2h")
        assert runtime.runs.list() == ()


class TestThePerformOfAScheduledAsset:
    def test_materializes_asset_with_dynamic_partition(self, runtime: fs.Runtime, flowstone_clock: ManualClock) -> None:
        rule = lambda instant: instant.replace(minute=0)  # noqa: E731 - as the design writes it
        runtime.schedules.create("hourly_metrics", cron="0 * * * *", partition=rule)
        flowstone_clock.advance("1h")
        assert_materialized(runtime, "hourly_metrics", partition=datetime(2025, 1, 15, 13, tzinfo=UTC))

    def test_a_late_run_has_the_partition_of_its_scheduled_instant(
        self, runtime: fs.Runtime, flowstone_clock: ManualClock
    ) -> None:
        runtime.schedules.create("hourly_metrics", cron="0 * * * *", partition=fs.this_hour)
        flowstone_clock.set_wall(flowstone_clock.now() + timedelta(minutes=95))
        flowstone_clock.advance("1m")
        (tick,) = runtime.schedules.history("hourly_metrics")
        assert (tick.status, tick.partition) == ("triggered", datetime(2025, 1, 15, 13, tzinfo=UTC))

    def test_handles_missing_schedule_gracefully(self, runtime: fs.Runtime) -> None:
        with pytest.raises(fs.ScheduleNotFound, match="nonexistent"):
            runtime.schedules.trigger("nonexistent")
        with pytest.raises(fs.AssetNotFound, match="nonexistent") as raised:
            runtime.schedules.create("nonexistent", cron="0 * * * *")
        assert raised.value.type == "asset_not_found"
        assert runtime.runs.list() == ()

    def test_uses_default_partition_function_when_not_specified(
        self, runtime: fs.Runtime, flowstone_clock: ManualClock
    ) -> None:
        runtime.schedules.create("default_partition", cron="0 0 * * *")
        flowstone_clock.advance("12h")
        assert_enqueued(runtime, "default_partition", partition=date(2025, 1, 16))
        assert_materialized(runtime, "default_partition", partition=date(2025, 1, 16))


def test_the_calls_of_the_schedule_api(runtime: fs.Runtime) -> None:
    runtime.schedule("daily_report", cron="0 2 * * *")
    assert [row.name for row in runtime.list_schedules()] == ["daily_report"]
    runtime.unschedule("daily_report")
    assert runtime.list_schedules() == ()
