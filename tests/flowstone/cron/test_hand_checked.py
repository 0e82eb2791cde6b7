"""Instants around real changes of real zones, derived by hand."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flowstone.cron import Cron

SECOND = timedelta(seconds=1)
LINES = (Path(__file__).parent / "hand_checked.txt").read_text().splitlines()
CASES = [tuple(part.strip() for part in line.split("|")) for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize(("expression", "zone", "gap", "fold", "after", "expected", "why"), CASES)
def test_next_instants_are_those_derived_by_hand(
    expression: str, zone: str, gap: str, fold: str, after: str, expected: str, why: str
) -> None:
    cron = Cron(expression, zone, gap=gap, fold=fold)
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in expected.split()]
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found: list[datetime] = []
    for _ in instants:
        found.append(cron.next_after(found[-1] if found else start))
    assert found == instants, why


@pytest.mark.parametrize(("expression", "zone", "gap", "fold", "after", "expected", "why"), CASES)
def test_previous_instants_are_the_same_backwards(
    expression: str, zone: str, gap: str, fold: str, after: str, expected: str, why: str
) -> None:
    cron = Cron(expression, zone, gap=gap, fold=fold)
    instants = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in expected.split()]
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found: list[datetime] = []
    for _ in instants:
        found.append(cron.previous_before(found[-1] if found else instants[-1] + SECOND))
    assert found == instants[::-1], why
    assert cron.previous_before(instants[0]) <= start, why
