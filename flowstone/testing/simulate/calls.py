"""The executor of a simulated world: user code runs at a drawn moment, or hangs, or raises, in the world's one order.

A call takes virtual time alone. Its function runs when the call begins or when it comes back, as drawn, and always in
one piece; one that hangs runs as soon as it comes back, which is after its timeout.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from actors import Clock, WorkCount
from flowstone.core.approval import WaitForApproval
from flowstone.core.asset import Retry
from flowstone.errors import RuntimeStopped
from flowstone.executors.call import Call, outcome_of
from flowstone.executors.threads import ThreadExecutor
from flowstone.outcome import Outcome
from flowstone.runs.execution import Attempt
from flowstone.testing.simulate.faults import Dice
from flowstone.testing.simulate.journal import Journal

__all__ = ["ASKED", "CallBook", "InjectedFault", "Made", "SimulatedExecutor"]

ASKED = "asked"
"""How a call ended that asks people."""

USUAL = 2.0
"""Seconds that a call takes at most, unless it is slow."""

SLOWEST = 600.0
LONGEST_HANG = 21_600.0


class InjectedFault(Exception):
    """What user code raises in a simulated world."""


@dataclass(slots=True)
class Made:
    """One call of an asset's function, for the books: `ended` says how, None while it goes on or when it died."""

    run_id: str
    asset: str
    attempt: int
    fence: int
    begun: datetime
    ended: str | None = None


class CallBook:
    """All calls of assets' functions that were made, over all lives of the process; and what should not have been."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.overlaps: list[str] = []
        self._going_on: Counter[str] = Counter()

    def begin(self, name: str, attempt: Attempt) -> Made:
        """A call of an asset begins."""
        if self._going_on[name]:
            self.overlaps.append(f"{name}, called for run {attempt.claim.lease.run_id}")
        self._going_on[name] += 1
        lease = attempt.claim.lease
        made = Made(
            lease.run_id, attempt.asset.name, attempt.started.attempt, lease.fence, attempt.services.clock.now()
        )
        self.made.append(made)
        return made

    def end(self, name: str) -> None:
        """The call has come back."""
        self._going_on[name] -= 1

    def die(self) -> None:
        """The process is gone, and its calls with it."""
        self._going_on.clear()


@dataclass(slots=True)
class _Fate:
    """What becomes of a call: how long it takes, whether it runs at its beginning, whether it raises all the same."""

    seconds: float
    early: bool
    raises: bool
    made: Made | None = None
    outcome: Outcome[Any] | None = None


class SimulatedExecutor(ThreadExecutor):
    """Runs calls on no thread at all."""

    def __init__(
        self,
        name: str,
        *,
        clock: Clock,
        work: WorkCount,
        threads: int | None,
        dice: Dice,
        journal: Journal,
        book: CallBook,
    ) -> None:
        super().__init__(name, clock=clock, work=work, threads=threads)
        self._dice = dice
        self._journal = journal
        self._book = book
        self._queue: deque[Call] = deque()
        self._live: dict[Call, _Fate] = {}
        self._given_up: list[Call] = []

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        timeout: float | None,
        name: str,
        then: Callable[[Outcome[Any]], None],
        ended: Callable[[], None] | None = None,
    ) -> Call:
        """Accept a call; it begins now, or when one of as many as may run at once has ended.

        Raises:
            RuntimeStopped: the executor has been stopped.
        """
        if self._stopped:
            raise RuntimeStopped(f"executor {self.name} is stopped and takes no {name}")
        call = Call(
            name, self._clock.now(), fn, args, timeout, then, ended, self._work.begin(f"{self.name}: {name}")
        )
        self._queue.append(call)
        self._begin_next()
        return call

    def abandoned(self) -> list[Call]:
        """The calls that were given up and still go on, oldest first."""
        return list(self._given_up)

    @property
    def busy(self) -> bool:
        """Whether a call goes on, or waits."""
        return bool(self._live or self._queue)

    def stop(self, timeout: float) -> None:
        """Refuse new calls, and tell those that wait or go on that it is over."""
        self._stopped = True
        for call in (*self._queue, *self._live):
            if not call.settled:
                call.settled = True
                call.tell(Outcome(error=RuntimeStopped(f"executor {self.name} was stopped")))
        self._queue.clear()

    def die(self) -> None:
        """Forget everything, as a process that dies does."""
        self._stopped = True
        self._queue.clear()
        self._live.clear()
        self._given_up.clear()

    def _begin_next(self) -> None:
        while self._queue and (self._limit is None or len(self._live) - len(self._given_up) < self._limit):
            call = self._queue.popleft()
            fate = self._live[call] = self._drawn(call)
            self._check_alone(call)
            if call.args and isinstance(call.args[0], Attempt):
                fate.made = self._book.begin(call.name, call.args[0])
            self._journal.note("call", f"{call.name} begins, for {fate.seconds:.6f} s")
            if call.timeout is not None:
                call.timer = self._clock.call_after(call.timeout, partial(self._give_up, call))
            if fate.early:
                self._clock.call_after(0.0, partial(self._call, call, fate))
            self._clock.call_after(fate.seconds, partial(self._come_back, call, fate))

    def _check_alone(self, call: Call) -> None:
        """Note a poll, or a delivery, that begins while one of its sensor goes on that was not given up."""
        if call.name.startswith("sensor ") and not call.name.endswith(" push"):
            others = (other for other in self._live if other is not call and not other.settled)
            if any(other.name == call.name for other in others):
                self._book.overlaps.append(call.name)

    def _drawn(self, call: Call) -> _Fate:
        dice, order = self._dice, self._dice.order
        seconds = order.random() * USUAL
        early, raises = order.random() < 0.5, dice.happens("raising")
        if dice.happens("slow"):
            seconds = dice.of("how slow").random() * min(SLOWEST, 2 * (call.timeout or SLOWEST))
        if dice.happens("hanging"):
            seconds = (call.timeout or 0.0) + dice.of("how long").random() * LONGEST_HANG
            early = False
        return _Fate(seconds, early, raises)

    def _call(self, call: Call, fate: _Fate) -> None:
        """Call the function, unless the process has died."""
        if call not in self._live or fate.outcome is not None:
            return
        outcome = outcome_of(call)
        if fate.raises:
            outcome = Outcome(error=InjectedFault(f"{call.name} raises"))
            self._journal.note("raise", call.name)
        fate.outcome = outcome

    def _come_back(self, call: Call, fate: _Fate) -> None:
        if call not in self._live:
            return
        self._call(call, fate)
        assert fate.outcome is not None
        del self._live[call]
        in_time, call.settled = not call.settled, True
        if not in_time and call in self._given_up:
            self._given_up.remove(call)
        if fate.made is not None:
            self._book.end(call.name)
            fate.made.ended = fate.made.ended or _ending(fate.outcome)
        self._journal.note("call", f"{call.name} ends: {_ending(fate.outcome)}{'' if in_time else ', too late'}")
        if in_time:
            call.tell(fate.outcome)
        call.end()
        self._begin_next()

    def _give_up(self, call: Call) -> None:
        fate = self._live.get(call)
        if call.settled or fate is None:
            return
        call.settled = True
        self._given_up.append(call)
        if fate.made is not None:
            fate.made.ended = "timeout"
        self._journal.note("timeout", call.name)
        call.tell(Outcome(timed_out=True, duration=call.timeout or 0.0))
        self._begin_next()


def _ending(outcome: Outcome[Any]) -> str:
    if outcome.error is not None:
        return type(outcome.error).__name__
    if isinstance(outcome.value, WaitForApproval):
        return ASKED
    return "Retry" if isinstance(outcome.value, Retry) else "ok"
