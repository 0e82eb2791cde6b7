"""What one attempt comes to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flowstone.core.asset import Asset, Retry, RetryPolicy, Skip
from flowstone.errors import DependencyNotReady, ExecutionError, IOManagerError, TimeoutExceeded
from flowstone.io import StoredValue
from flowstone.lineage.node import Input
from flowstone.outcome import Outcome
from flowstone.runs.attempts import (
    LONGEST_WORDS,
    SNOOZE,
    Failed,
    Made,
    Repeated,
    Skipped,
    Snoozed,
    Succeeded,
    Verdict,
    judge,
)

NOW = datetime(2025, 1, 15, 2, tzinfo=UTC)


def verdict(
    outcome: Outcome[Any], *, attempt: int = 1, patient: bool = True, since: Any = None, **options: Any
) -> Verdict:
    asset = Asset(lambda context: None, name="raw", **options)
    return judge(asset, outcome, run_id="run_x", attempt=attempt, patient=patient, snoozed_since=since, now=NOW)


def test_a_stored_value_is_success_and_a_skip_is_a_skip() -> None:
    stored = StoredValue(manager="memory", location="here", data_version="1")
    read = (Input("raw", "", "run_a", "1"),)
    assert verdict(Outcome(value=Made(stored, read))) == Succeeded(stored, read)
    assert verdict(Outcome(value=Skip("a holiday"))) == Skipped("a holiday")


def test_a_users_exception_fails_at_once_and_is_the_cause() -> None:
    raised = ValueError("no such day")
    answer = verdict(Outcome(error=raised))
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, ExecutionError)
    assert answer.error.__cause__ is raised
    assert "ValueError: no such day" in str(answer.error)


def test_a_retryable_error_is_repeated_after_the_delay_with_up_to_a_tenth_of_jitter() -> None:
    answer = verdict(Outcome(error=IOManagerError("disk")), attempt=2)
    assert isinstance(answer, Repeated)
    assert timedelta(seconds=30) <= answer.ready_at - NOW <= timedelta(seconds=33)


def test_attempts_end_at_max_attempts() -> None:
    assert isinstance(verdict(Outcome(error=IOManagerError("disk")), attempt=3), Failed)
    assert isinstance(verdict(Outcome(value=Retry(reason="later")), attempt=3), Failed)


def test_a_policy_names_the_exceptions_that_are_repeated() -> None:
    policy = RetryPolicy(on=(KeyError,))
    assert isinstance(verdict(Outcome(error=KeyError("x")), retry=policy), Repeated)
    assert isinstance(verdict(Outcome(error=ValueError("x")), retry=policy), Failed)


def test_a_timeout_is_a_retryable_failure() -> None:
    answer = verdict(Outcome(timed_out=True, duration=5.0), timeout=5.0)
    assert isinstance(answer, Repeated)
    assert isinstance(answer.error, TimeoutExceeded)
    assert "5 s" in str(answer.error)


def test_an_asset_may_say_when_to_try_again() -> None:
    answer = verdict(Outcome(value=Retry(after=7)))
    assert isinstance(answer, Repeated)
    assert answer.ready_at == NOW + timedelta(seconds=7)


def test_a_missing_dependency_snoozes_runs_that_nobody_waits_for_up_to_an_hour() -> None:
    missing: Outcome[Any] = Outcome(error=DependencyNotReady("raw has no value"))
    answer = verdict(missing, attempt=9)
    assert isinstance(answer, Snoozed)
    assert answer.ready_at == NOW + SNOOZE
    assert isinstance(verdict(missing, patient=False), Failed)
    assert isinstance(verdict(missing, since=NOW - timedelta(minutes=59, seconds=30)), Snoozed)
    assert isinstance(verdict(missing, since=NOW - timedelta(minutes=59, seconds=31)), Failed)


def test_words_of_an_error_are_kept_up_to_a_length_and_its_type_stays() -> None:
    answer = verdict(Outcome(error=IOManagerError("x" * 1_000_000, retryable=False)))
    assert isinstance(answer, Failed)
    assert isinstance(answer.error, IOManagerError)
    assert str(answer.error) == "x" * (LONGEST_WORDS - 1) + "…"
    long = verdict(Outcome(error=ValueError("y" * 1_000_000)))
    assert isinstance(long, Failed)
    assert str(long.error).startswith("asset 'raw' raised ValueError: yyy")
    assert len(str(long.error)) < LONGEST_WORDS + 100
    assert verdict(Outcome(value=Skip("z" * 1_000_000))) == Skipped("z" * (LONGEST_WORDS - 1) + "…")
