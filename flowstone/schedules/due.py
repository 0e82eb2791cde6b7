"""Decisions about due instants: what fires, what is missed or skipped, and when to look again. Pure.

An instant is *due* after the schedule's `accounted_until` up to and including now, and *ready* once its jitter has
passed too. A jitter is shorter than the gap to the next instant, so that ready instants are a prefix of the due ones:
only the newest can be due and not ready. A decision gives every ready instant one account, in order, and
`accounted_until` moves to the last of them; what is not ready stays due.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from flowstone.cron import Interval, Timing
from flowstone.schedules.policies import Misfire, MisfireMode, Overlap, Reason, TickStatus

__all__ = [
    "Account",
    "Admission",
    "Decision",
    "Timed",
    "admit",
    "ahead",
    "decide",
    "overdue",
    "same_until",
    "settle",
    "start_of",
    "wake_at",
]

_LATE = timedelta(seconds=30)
_MANY = 10
_STRETCH = timedelta(days=100)
_TICK = timedelta(microseconds=1)


class Timed(Protocol):
    """What instants are decided about for: a schedule, or anything else that has a timing and an account."""

    @property
    def name(self) -> str:
        """What its jitter is a hash of."""

    @property
    def timing(self) -> Timing:
        """Its instants."""

    @property
    def accounted_until(self) -> datetime:
        """The instant up to which everything has been seen to."""

    @property
    def enabled(self) -> bool:
        """Whether its instants fire, or pass as skipped."""

    @property
    def orphaned(self) -> bool:
        """Whether nothing is decided about it."""

    @property
    def misfire(self) -> Misfire:
        """What happens to instants that are found late."""

    @property
    def jitter(self) -> float:
        """Seconds over which its starts are spread."""


@dataclass(frozen=True, slots=True)
class Account:
    """What becomes of one due instant, or of a counted range of them.

    Attributes:
        first, last: the instant twice, or the ends of the range.
        count: how many instants that is.
        reason: why it does not run; None when it does.
    """

    status: TickStatus
    first: datetime
    last: datetime
    count: int = 1
    reason: Reason | None = None

    @property
    def fires(self) -> bool:
        """Whether the instant asks for a run."""
        return self.status is TickStatus.TRIGGERED


@dataclass(frozen=True, slots=True)
class Decision:
    """The accounts of all ready instants, oldest first, and how far they reach."""

    accounts: tuple[Account, ...]
    accounted_until: datetime

    def up_to_first_run(self) -> "Decision":
        """The decision cut off after its first account that fires; itself when none does."""
        for index, account in enumerate(self.accounts):
            if account.fires:
                return Decision(self.accounts[: index + 1], account.last)
        return self


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a tick may ask for its run: not when `blocked_by` names a run.

    Its run waits for the earlier ones when it is `behind`, and cancels those in `cancels`.
    """

    blocked_by: str | None = None
    behind: bool = False
    cancels: tuple[str, ...] = ()


def decide(schedule: Timed, now: datetime) -> Decision:
    """The accounts of the instants that are ready at `now`.

    A disabled schedule skips them. Of an enabled one the newest fires when it is on time; late ones do as the misfire
    policy says, and what does not fire is missed with the reason. An orphaned one decides nothing.
    """
    timing, since = schedule.timing, schedule.accounted_until
    last = None if schedule.orphaned else _last_ready(schedule, timing, now)
    if last is None:
        return Decision((), since)
    if not schedule.enabled:
        return Decision(_rows(timing, since, last, TickStatus.SKIPPED, Reason.PAUSED), last)
    runs = _running(schedule, timing, last, now)
    fires = tuple(Account(TickStatus.TRIGGERED, instant, instant) for instant in runs)
    return Decision(_missed(schedule, timing, last, runs, now) + fires, last)


def same_until(schedule: Timed, decision: Decision) -> datetime | None:
    """Until when a decision, made ahead for the instant at which it is ready, is the one that would be made.

    None when that can't be told: it is about more than one instant, about one that does not fire, or with jitter.
    """
    if len(decision.accounts) != 1 or not decision.accounts[0].fires or schedule.jitter:
        return None
    instant = decision.accounts[0].first
    return instant + min(_LATE, (schedule.timing.next_after(instant) - instant) / 2)


def settle(schedule: Timed, now: datetime) -> tuple[Account, ...]:
    """The accounts of everything that is due at `now`, jitter or not, when no timer may decide about it any more.

    That is so before an edit of the timing (`missed`, `edited`) and before a resume (`skipped`, `paused`).
    """
    timing = schedule.timing
    last = timing.previous_before(now + _TICK)
    if schedule.enabled:
        return _rows(timing, schedule.accounted_until, last, TickStatus.MISSED, Reason.EDITED)
    return _rows(timing, schedule.accounted_until, last, TickStatus.SKIPPED, Reason.PAUSED)


def admit(overlap: Overlap, unfinished: Sequence[str]) -> Admission:
    """Whether a tick may ask for its run while these runs of its schedule, oldest first, are unfinished.

    >>> admit(Overlap.SKIP, ["run_a"]).blocked_by
    'run_a'
    >>> admit(Overlap.QUEUE_ONE, ["run_a"]).behind, admit(Overlap.QUEUE_ONE, ["run_a", "run_b"]).blocked_by
    (True, 'run_b')
    """
    if not unfinished or overlap is Overlap.ALLOW:
        return Admission()
    if overlap is Overlap.CANCEL_PREVIOUS:
        return Admission(cancels=tuple(unfinished))
    if overlap is Overlap.SKIP:
        return Admission(blocked_by=unfinished[0])
    if overlap is Overlap.QUEUE_ONE and len(unfinished) > 1:
        return Admission(blocked_by=unfinished[-1])
    return Admission(behind=True)


def start_of(schedule: Timed, instant: datetime) -> datetime:
    """When the tick of `instant` is to start: after its jitter, always before the next instant."""
    return _start(schedule, schedule.timing, instant)


def wake_at(schedule: Timed) -> datetime:
    """When the next instant that has no account yet is ready."""
    return start_of(schedule, schedule.timing.next_after(schedule.accounted_until))


def overdue(schedule: Timed, now: datetime) -> float:
    """The seconds that the next account is behind its time; 0 when it is not, and for an orphaned schedule."""
    return 0.0 if schedule.orphaned else max(0.0, (now - wake_at(schedule)).total_seconds())


def ahead(schedule: Timed, now: datetime) -> float:
    """The seconds by which the account is ahead of the clock, as after a clock that jumped forward and back."""
    return max(0.0, (schedule.accounted_until - now).total_seconds())


def _start(schedule: Timed, timing: Timing, instant: datetime) -> datetime:
    if not schedule.jitter:
        return instant
    gap = (timing.next_after(instant) - instant).total_seconds()
    digest = hashlib.sha256(f"{schedule.name}:{int(instant.timestamp())}".encode()).digest()
    # 40 bits: few enough that rounding never makes the product as long as the gap.
    share = int.from_bytes(digest[:5], "big") / (1 << 40)
    return instant + timedelta(microseconds=int(share * min(schedule.jitter, gap) * 1_000_000))


def _last_ready(schedule: Timed, timing: Timing, now: datetime) -> datetime | None:
    last = timing.previous_before(now + _TICK)
    if last > schedule.accounted_until and _start(schedule, timing, last) > now:
        last = timing.previous_before(last)
    return last if last > schedule.accounted_until else None


def _running(schedule: Timed, timing: Timing, last: datetime, now: datetime) -> list[datetime]:
    """The ready instants that run, oldest first: always the newest ones."""
    on_time = _is_on_time(schedule, timing, last, now)
    runs = [last] if on_time else []
    if schedule.misfire.mode is MisfireMode.SKIP:
        return runs
    instant, oldest = timing.previous_before(last) if on_time else last, _last_too_old(schedule, timing, now)
    while len(runs) < schedule.misfire.max_count and instant > oldest:
        runs.append(instant)
        instant = timing.previous_before(instant)
    return runs[::-1]


def _is_on_time(schedule: Timed, timing: Timing, last: datetime, now: datetime) -> bool:
    tolerance = min(_LATE, (timing.next_after(last) - last) / 2)
    return now - _start(schedule, timing, last) <= tolerance


def _missed(
    schedule: Timed, timing: Timing, last: datetime, runs: Sequence[datetime], now: datetime
) -> tuple[Account, ...]:
    """The accounts of the ready instants that don't run: first those that are too old, then those that need not."""
    since = schedule.accounted_until
    until = timing.previous_before(runs[0]) if runs else last
    if schedule.misfire.mode is MisfireMode.SKIP:
        return _rows(timing, since, until, TickStatus.MISSED, Reason.LATE)
    too_old = min(until, _last_too_old(schedule, timing, now))
    newer = Reason.SUPERSEDED if schedule.misfire.mode is MisfireMode.LATEST else Reason.MAX_COUNT
    return (
        *_rows(timing, since, too_old, TickStatus.MISSED, Reason.MAX_AGE),
        *_rows(timing, too_old, until, TickStatus.MISSED, newer),
    )


def _last_too_old(schedule: Timed, timing: Timing, now: datetime) -> datetime:
    """The last instant that the misfire policy calls too old, or the end of the account when there is none."""
    since, age = schedule.accounted_until, schedule.misfire.max_age
    # The comparison comes first: an age of centuries would lead out of the calendar.
    if age is None or (now - since).total_seconds() <= age:
        return since
    return max(since, timing.previous_before(now - timedelta(seconds=age)))


def _rows(timing: Timing, since: datetime, last: datetime, status: TickStatus, reason: Reason) -> tuple[Account, ...]:
    """The accounts of the instants after `since` up to `last`: one each, or one range when there are many."""
    if last <= since:
        return ()
    few: list[datetime] = []
    instant = timing.next_after(since)
    while instant <= last and len(few) <= _MANY:
        few.append(instant)
        instant = timing.next_after(instant)
    if len(few) <= _MANY:
        return tuple(Account(status, each, each, 1, reason) for each in few)
    return (Account(status, few[0], last, _count(timing, since, last), reason),)


def _count(timing: Timing, since: datetime, last: datetime) -> int:
    if isinstance(timing, Interval):
        return (last - timing.next_after(since)) // timedelta(seconds=timing.seconds) + 1
    count = 0
    while since < last:
        until = min(last, since + _STRETCH)
        count += len(timing.between(since, until))
        since = until
    return count
