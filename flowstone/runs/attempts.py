"""What one attempt at an asset comes to: success, skip, a question, another attempt later, or failure. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flowstone.core.approval import WaitForApproval
from flowstone.core.asset import Asset, Retry, Skip
from flowstone.errors import (
    DependencyNotReady,
    ExecutionError,
    FlowstoneError,
    TimeoutExceeded,
    shown,
    storable,
    text_of,
)
from flowstone.io import StoredValue
from flowstone.lineage.node import Input
from flowstone.outcome import Outcome

__all__ = [
    "SNOOZE",
    "SNOOZE_LIMIT",
    "Ended",
    "Failed",
    "Made",
    "Repeated",
    "Skipped",
    "Snoozed",
    "Succeeded",
    "Verdict",
    "Waiting",
    "judge",
]

SNOOZE = timedelta(seconds=30)
SNOOZE_LIMIT = timedelta(hours=1)
LONGEST_WORDS = 20_000
"""Characters of an error or a reason that are kept: statements that failed bring all that they were to write."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an attempt comes back with: the value is stored, and this is what it was made from."""

    stored: StoredValue
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The value is stored; `stored` says where, `inputs` what it was made from."""

    stored: StoredValue
    inputs: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """The function said that there is nothing to make."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The last attempt failed."""

    error: FlowstoneError


@dataclass(frozen=True, slots=True)
class Repeated:
    """The attempt failed, and another one follows at `ready_at`."""

    error: FlowstoneError
    ready_at: datetime


@dataclass(frozen=True, slots=True)
class Snoozed:
    """A dependency is missing: the attempt does not count, and is made again at `ready_at`."""

    error: FlowstoneError
    ready_at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """The function asks people: it is called again when they have approved."""

    question: WaitForApproval


Verdict = Succeeded | Skipped | Failed | Repeated | Snoozed | Waiting


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one attempt at an asset; `attempt` None is any.

    `still_busy` says that the call goes on although its attempt is over: its (asset, partition) stays held. When the
    `attempt`, or its call after this `approval`, is over already, a commit of which the answer was lost has written it.
    """

    asset: str
    verdict: Verdict
    duration: float
    still_busy: bool = False
    attempt: int | None = None
    approval: str | None = None


def judge(
    asset: Asset,
    outcome: Outcome[Any],
    *,
    run_id: str,
    attempt: int,
    patient: bool,
    snoozed_since: datetime | None,
    now: datetime,
) -> Verdict:
    """What the outcome of attempt number `attempt` (from 1) means under the asset's policies."""
    answer = outcome.value
    if outcome.ok and isinstance(answer, Made):
        return Succeeded(answer.stored, answer.inputs)
    if outcome.ok and isinstance(answer, Skip):
        return Skipped(_words(answer.reason))
    if outcome.ok and isinstance(answer, WaitForApproval):
        return Waiting(answer)
    if outcome.ok and isinstance(answer, Retry):
        return _asked_again(asset, answer, attempt, now, run_id)
    error = _as_error(asset.name, outcome, asset.timeout)
    if isinstance(error, DependencyNotReady):
        return _snooze(error, patient, snoozed_since, now)
    if asset.retry.repeats(outcome.error or error, attempt):
        return Repeated(error, now + timedelta(seconds=_spread(asset.retry.delay(attempt), run_id, attempt)))
    return Failed(error)


def _as_error(name: str, outcome: Outcome[Any], timeout: float | None) -> FlowstoneError:
    """The outcome's failure as an error of ours, with the user's exception as its cause."""
    if outcome.timed_out:
        message = f"asset {name!r} was given up after {timeout or outcome.duration:g} s, its timeout"
        return TimeoutExceeded(message, asset=name)
    error = outcome.error
    if isinstance(error, FlowstoneError):
        words = _words(error)
        error.args = (words,)
        if text_of(error) == words:
            return error
    text = f"{type(error).__name__}: {_words(error)}" if error is not None else f"no result: {shown(outcome.value)}"
    wrapped = ExecutionError(f"asset {name!r} raised {text}", asset=name)
    wrapped.__cause__ = error
    return wrapped


def _words(told: object) -> str:
    """What users say, as an error or a reason, in words that the row can hold whatever they are, and however many."""
    words = storable(text_of(told))
    return words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 1]}…"


def _asked_again(asset: Asset, answer: Retry, attempt: int, now: datetime, run_id: str) -> Verdict:
    reason = _words(answer.reason) or "no reason given"
    error = ExecutionError(f"asset {asset.name!r} asked to be tried again: {reason}")
    if attempt >= asset.retry.max_attempts:
        return Failed(error)
    after = answer.after if answer.after is not None else _spread(asset.retry.delay(attempt), run_id, attempt)
    return Repeated(error, now + timedelta(seconds=after))


def _snooze(error: DependencyNotReady, patient: bool, since: datetime | None, now: datetime) -> Verdict:
    if not patient or (since is not None and now + SNOOZE > since + SNOOZE_LIMIT):
        return Failed(error)
    return Snoozed(error, now + SNOOZE)


def _spread(delay: float, run_id: str, attempt: int) -> float:
    """The delay and 0-10 % of it, so that runs which failed together do not come back together."""
    digest = hashlib.sha256(f"{run_id}:{attempt}".encode()).digest()
    return delay * (1 + 0.1 * digest[0] / 255)
