"""A snapshot of lags and counts, from the store, as Prometheus takes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import flowstone as fs
from actors.testing import ManualClock
from flowstone.metrics import HELP, Metric, Metrics

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def shop() -> fs.Pipeline:
    shop = fs.Pipeline("shop")

    @shop.asset
    def report(context: fs.Context) -> object:
        return fs.WaitForApproval("sure?") if context.approval is None else "yes"

    class Failing(fs.Sensor):
        def poll(self, state: object) -> fs.PollError:
            return fs.PollError("no")

    shop.schedule("hourly", cron="0 * * * *", target="report")
    shop.sensor("calls", Failing(), every="1m", target="report")
    return shop


def test_a_runtime_that_keeps_up_has_no_lag(shop: fs.Pipeline, store_url: str) -> None:
    clock = ManualClock(NOON)
    with fs.Runtime(shop, store=store_url, clock=clock, io_manager="memory") as runtime:
        clock.advance("61m")
        found = runtime.metrics()
        assert found.value("flowstone_tick_lateness_seconds", schedule="hourly") == 0
        assert found.value("flowstone_runs", status="waiting_approval") == 1
        assert found.value("flowstone_queue_age_seconds") == 0
        assert found.value("flowstone_sensor_failures", sensor="calls") >= 3
        assert found.value("flowstone_calls_abandoned", executor="polls") == 0
        assert {each.name for each in found} <= set(HELP)


def test_what_nobody_moves_grows_late(shop: fs.Pipeline, make_store_url: Callable[[str], str]) -> None:
    url, clock = make_store_url("sqlite"), ManualClock(NOON)
    with fs.Runtime(shop, store=url, clock=clock):
        pass
    later = ManualClock(NOON + timedelta(hours=3))
    with fs.Runtime(shop, store=url, clock=later, scheduler=False, sensors=False) as runtime:
        found = runtime.metrics()
        assert found.value("flowstone_tick_lateness_seconds", schedule="hourly") == 2 * 3600
        assert found.value("flowstone_poll_lateness_seconds", sensor="calls") > 2 * 3600


def test_the_text_is_what_prometheus_scrapes() -> None:
    metrics = Metrics(
        [
            Metric("flowstone_queue_age_seconds", 1.5),
            Metric("flowstone_sensor_failures", 2, {"sensor": 'a"b\\c\nd'}),
        ]
    )
    assert str(metrics) == (
        "# HELP flowstone_queue_age_seconds How long the longest has waited of the runs that are due.\n"
        "# TYPE flowstone_queue_age_seconds gauge\n"
        "flowstone_queue_age_seconds 1.5\n"
        "# HELP flowstone_sensor_failures Failures of a sensor in a row.\n"
        "# TYPE flowstone_sensor_failures gauge\n"
        'flowstone_sensor_failures{sensor="a\\"b\\\\c\\nd"} 2\n'
    )
    assert metrics.value("flowstone_runs", status="queued") == 0
