"""Rules of semantics 6 about dedupe scopes: what they are spelled like, and what frees a key."""

from datetime import UTC, datetime, timedelta

import pytest
from flowstone.core.dedupe import FOREVER, Dedupe, DedupeMode
from flowstone.core.run import RunStatus
from flowstone.errors import ValidationError

ASKED = datetime(2025, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["forever", "until_success", "window:1d", "window:50ms", "window:90.5s"])
def test_a_scope_and_its_text_stand_for_each_other(text: str) -> None:
    assert str(Dedupe.read(text)) == text
    assert Dedupe.read(Dedupe.read(text)) == Dedupe.read(text)


def test_two_spellings_of_a_window_are_one_scope() -> None:
    assert Dedupe.read("window:24h") == Dedupe.read("window:1d") == Dedupe(DedupeMode.WINDOW, 86400.0)


@pytest.mark.parametrize(
    "wrong", [None, 5, "", "for ever", "window", "window:", "window:soon", "window:0s", "window:-1d", "forever:1d"]
)
def test_what_is_no_scope_is_refused_with_what_is(wrong: object) -> None:
    with pytest.raises(ValidationError, match="expected .*dedupe to be"):
        Dedupe.read(wrong)


@pytest.mark.parametrize("status", RunStatus)
def test_forever_nothing_frees_a_key(status: RunStatus) -> None:
    assert not FOREVER.frees(status, ASKED, ASKED + timedelta(days=10_000))


@pytest.mark.parametrize("status", RunStatus)
def test_until_success_a_failed_run_alone_frees_its_key(status: RunStatus) -> None:
    freed = Dedupe.read("until_success").frees(status, ASKED, ASKED + timedelta(days=10_000))
    assert freed is (status is RunStatus.FAILED)


@pytest.mark.parametrize("status", RunStatus)
def test_a_window_frees_a_key_that_was_asked_for_longer_ago(status: RunStatus) -> None:
    hour = Dedupe.read("window:1h")
    assert not hour.frees(status, ASKED, ASKED + timedelta(hours=1))
    assert hour.frees(status, ASKED, ASKED + timedelta(hours=1, microseconds=1))


def test_a_clock_that_was_set_back_frees_nothing() -> None:
    assert not Dedupe.read("window:1h").frees(RunStatus.FAILED, ASKED, ASKED - timedelta(days=1))
