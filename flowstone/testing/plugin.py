"""Fixtures of pytest, on wherever FlowStone is installed: a clock that the test owns, and runtimes on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from actors.testing import ManualClock
    from flowstone.pipeline import Pipeline
    from flowstone.runtime import Runtime

__all__ = ["flowstone_clock", "flowstone_runtime"]

START = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def flowstone_clock() -> ManualClock:
    """A manual clock that stands at noon (UTC) of 15 January 2025."""
    from actors.testing import ManualClock

    return ManualClock(START)


@pytest.fixture
def flowstone_runtime(flowstone_clock: ManualClock) -> Iterator[Callable[..., Runtime]]:
    """A factory of started runtimes, in memory and on the manual clock unless told otherwise; stopped afterwards.

    Neither the environment nor a file of the machine configures them; `config=flowstone.config.load()` asks for both.
    """
    from flowstone.config import Config
    from flowstone.runtime import Runtime

    with ExitStack() as started:

        def make(*pipelines: Pipeline, **options: Any) -> Runtime:
            defaults: dict[str, Any] = {"store": "memory://", "clock": flowstone_clock, "config": Config()}
            return started.enter_context(Runtime(*pipelines, **{**defaults, **options}))

        yield make
