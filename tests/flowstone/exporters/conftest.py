"""A shop in which everything happens that telemetry tells of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest
from flowstone.sensors import Push
from flowstone.testing import ScriptedSensor


class Flaky(fs.Resource):
    """A resource that is well, until it is not."""

    well = True

    def setup(self) -> str:
        return "handle"

    def health_check(self, handle: object) -> bool:
        return self.well


class Shop:
    """The pipeline: `raw`, `report` made from it, a sensor of each kind, a schedule, a resource."""

    def __init__(self) -> None:
        self.pipeline = shop = fs.Pipeline("shop")
        self.answers: list[Any] = []
        self.arrivals = ScriptedSensor()
        self.resource = Flaky()
        shop.asset(self.make, name="raw", retry=fs.RetryPolicy(max_attempts=1))
        shop.asset(lambda context, raw: raw, name="report")
        shop.sensor("arrivals", self.arrivals, every="1m", target="raw")
        shop.sensor("inbox", Push(), target="raw")
        shop.schedule("hourly", cron="0 * * * *", target="raw", overlap="allow")

    def make(self, context: fs.Context) -> Any:
        answer = self.answers.pop(0) if self.answers else 1
        if isinstance(answer, BaseException):
            raise answer
        return answer(context) if callable(answer) else answer


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "sqlite"])
def started(
    shop: Shop,
    backend: str,
    make_store_url: Callable[[str], str],
    flowstone_runtime: Callable[..., fs.Runtime],
    request: pytest.FixtureRequest,
) -> fs.Runtime:
    """A runtime of the shop, on each backend and each store of one file."""
    return flowstone_runtime(shop.pipeline, backend=backend, store=make_store_url(request.param), io_manager="memory")
