"""A pipeline to simulate when none is given: some of everything, sparse enough for a month in a moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flowstone.core.approval import OnTimeout, WaitForApproval
from flowstone.core.asset import Retry, RetryPolicy, Skip
from flowstone.pipeline import Pipeline
from flowstone.schedules.rules import previous_day
from flowstone.sensors.event import TriggerEvent
from flowstone.testing.simulate.feeds import Feed, PushedFeed

__all__ = ["shop"]

AGAIN = RetryPolicy(max_attempts=3)


def shop() -> Pipeline:
    """Assets that wait for each other, a schedule of each policy, sensors of each kind."""
    pipeline = Pipeline("simulated-shop")
    _assets(pipeline)
    _schedules(pipeline)
    pipeline.sensor("files", Feed(a_day=0.5), every="20h", target="raw", timeout="2m")
    pipeline.sensor("looking", Feed(a_day=0.3, looks_back=3), every="26h", target="+clean")
    pipeline.sensor("told", Feed(a_day=0.4), every="32h", on_trigger=_take)
    pipeline.sensor("pushed", PushedFeed(a_day=0.4), target="raw")
    return pipeline


def _assets(pipeline: Pipeline) -> None:
    @pipeline.asset(retry=AGAIN, timeout="5m")
    def raw(context: Any) -> str:
        return str(context.partition)

    @pipeline.asset(retry=AGAIN, timeout="5m")
    async def clean(context: Any, raw: str) -> str:
        return raw.strip()

    @pipeline.asset(retry=AGAIN, timeout="10m")
    def left(context: Any) -> int:
        return int(context.attempt)

    @pipeline.asset(retry=AGAIN, timeout="10m")
    def right(context: Any) -> int | Retry:
        return Retry(after=60, reason="not yet") if context.attempt == 1 else 2

    @pipeline.asset(retry=AGAIN)
    def both(context: Any, left: int, right: int) -> int:
        return left + right

    @pipeline.asset(retry=AGAIN)
    def report(context: Any) -> str | Skip:
        return Skip("nothing on Sundays") if context.partition.weekday() == 6 else "report"

    @pipeline.asset(retry=AGAIN, pool="press")
    def signed(context: Any, left: int) -> Any:
        if context.approval is not None:
            return context.approval.by
        policy = ("expire", "approve", "reject", "escalate")[left % 4]
        timeout = None if context.partition.day % 5 == 0 else "20h"
        return WaitForApproval("to be signed", {"left": left}, timeout=timeout, on_timeout=OnTimeout(policy))

    @pipeline.asset(retry=AGAIN, pool="press")
    def printed(context: Any, signed: str, both: int) -> str:
        return f"{both}, signed by {signed}"


def _schedules(pipeline: Pipeline) -> None:
    pipeline.schedule("signing", target="+printed", every="100h", overlap="allow")
    pipeline.schedule("nightly", target="+both", cron="15 2 */4 * *", misfire="all")
    pipeline.schedule("reports", target="report", cron="0 8 * * *", timezone="America/New_York", jitter="1h")
    pipeline.schedule("ruled", target="report", cron="30 6 */2 * *", partition=_rule, overlap="queue_one")
    pipeline.schedule("latest", target="left", every="60h", overlap="cancel_previous", partition=previous_day)
    pipeline.schedule("hourly", target="report", cron="0 9,10 1,15 * *", misfire="skip", overlap="allow")


def _rule(instant: datetime) -> Any:
    return instant.date()


def _take(event: TriggerEvent) -> None:
    """Take a delivery, as the callback of a sensor does."""
