"""What the tests of schedules share: instants, and rows as the store has them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.schedule import Schedule

START = datetime(2025, 1, 15, 2, 0, tzinfo=UTC)


@pytest.fixture
def start() -> datetime:
    """The instant at which schedules of tests are created, unless they say otherwise."""
    return START


@pytest.fixture(scope="session")
def row() -> Callable[..., ScheduleRow]:
    """A maker of rows: `row(every="1m", now=…)`, with the options of a schedule."""

    def make(now: datetime = START, **options: Any) -> ScheduleRow:
        return ScheduleRow.new(Schedule("report", **options), now)

    return make
