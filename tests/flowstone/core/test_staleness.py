"""When a value is stale: the first reason that holds (semantics 8)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.staleness import Known, Stale, Staleness, staleness

NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
RAW, RATES = ("raw", "d:2025-01-15"), ("rates", "")
MADE = Known("2", NOON, {RAW: "v1", RATES: "r1"})
FRESH: dict[str, Any] = {
    "code_version": "2", "upstream": [(RAW, "v1"), (RATES, "r1")], "freshness": 60.0, "now": NOON,
}  # fmt: skip


@pytest.mark.parametrize(
    ("known", "change", "expected"),
    [
        (MADE, {}, None),
        (None, {}, Stale(Staleness.NEVER_MATERIALIZED)),
        (MADE, {"code_version": "3"}, Stale(Staleness.CODE_VERSION_CHANGED)),
        (MADE, {"code_version": None}, Stale(Staleness.CODE_VERSION_CHANGED)),
        (MADE, {"upstream": [(RAW, "v2"), (RATES, None)]}, Stale(Staleness.UPSTREAM_NEVER_MATERIALIZED, RATES)),
        (MADE, {"upstream": [(RAW, "v1"), (RATES, "r2")]}, Stale(Staleness.UPSTREAM_NEWER, RATES)),
        (MADE, {"upstream": [(("new", ""), "n1")]}, Stale(Staleness.UPSTREAM_NEWER, ("new", ""))),
        (MADE, {"upstream": []}, None),
        (MADE, {"now": NOON + timedelta(seconds=60)}, None),
        (MADE, {"now": NOON + timedelta(seconds=61)}, Stale(Staleness.FRESHNESS_PASSED)),
        (MADE, {"now": NOON + timedelta(days=900), "freshness": None}, None),
    ],
)
def test_the_first_reason_that_holds_is_given(known: Any, change: dict[str, Any], expected: Any) -> None:
    assert staleness(known, **{**FRESH, **change}) == expected


@pytest.mark.property
@given(st.none() | st.sampled_from(["1", "2"]), st.lists(st.none() | st.sampled_from(["v1", "v2"]), max_size=3),
       st.none() | st.floats(1, 100), st.floats(0, 200), st.booleans())
def test_a_value_is_fresh_exactly_when_no_reason_holds(
    code: str | None, versions: list[str | None], freshness: float | None, age: float, made: bool
) -> None:
    places = [((f"u{n}", ""), version) for n, version in enumerate(versions)]
    known = Known("1", NOON, {place: "v1" for place, _ in places}) if made else None
    now = NOON + timedelta(seconds=age)
    found = staleness(known, code_version=code, upstream=places, freshness=freshness, now=now)
    holds = {
        Staleness.NEVER_MATERIALIZED: not made,
        Staleness.CODE_VERSION_CHANGED: code != "1",
        Staleness.UPSTREAM_NEVER_MATERIALIZED: None in versions,
        Staleness.UPSTREAM_NEWER: "v2" in versions,
        Staleness.FRESHNESS_PASSED: freshness is not None and timedelta(seconds=age) > timedelta(seconds=freshness),
    }
    assert (found.reason if found else None) == next((reason for reason in Staleness if holds[reason]), None)
