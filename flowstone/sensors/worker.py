"""The actor of one sensor: polls it, commits what it saw, and waits for the next time.

It handles every message at once: the sensor's code runs on the executor, the store on its own threads, and what comes
of both arrives as messages. One job is in hand at a time, and goes through these phases:

    idle → reading → calling (init) → writing → reading → calling (poll) → writing → idle

A poll that somebody asked for is a job in the queue; the timer's is a mark, so that polls of the timer that would
overlap fall together. What the store refuses stays in hand, and is tried again under the same keys.

Options: those of the definition (`SensorSpec`), and `STORE_RETRY`, the seconds between two tries of the store.
Events: on topic `sensors` after the commit, `("sensor_triggered", name, partition)` for each run that was asked for.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from actors import Actor, ActorDeadError
from flowstone.errors import StoreUnavailable, ValidationError
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors import store
from flowstone.sensors.announcing import announce
from flowstone.sensors.around import Around
from flowstone.sensors.book import PollGate
from flowstone.sensors.calling import abandoned_of, obstacle_to, submit
from flowstone.sensors.cleanup import clean_up
from flowstone.sensors.cursor import read_state
from flowstone.sensors.evaluation import Evaluation, Start, begin, decide, first_cursor, skip
from flowstone.sensors.job import Job, Phase, Purpose
from flowstone.sensors.messages import (
    Called,
    CallEnded,
    Changed,
    Committed,
    GateOpened,
    Initialised,
    Nudge,
    Opened,
    Poll,
    Retry,
    TimerDue,
)
from flowstone.sensors.polling import call_init, call_poll
from flowstone.sensors.rows import SETTLED, Fault, SensorRow
from flowstone.sensors.sensor import PollError
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.timer import PollTimer

__all__ = ["STORE_RETRY", "Worker"]

log = logging.getLogger(__name__)

T = TypeVar("T")

STORE_RETRY = 0.5
ENDED_IN_ORDER = ("normal", "shutdown")


class Worker(Actor):
    """One sensor; `name` and the last committed `state` are shown to tests."""

    def init(self, services: Services, spec: SensorSpec, gate: PollGate) -> None:
        """Look at the sensor's row; polling begins with its answer."""
        self.name = spec.name
        self.state: Any = None
        self.phase = Phase.IDLE
        self.generation = 0
        self.stale_outcomes = 0
        self._services = services
        self._spec = spec
        self._gate = gate
        self._timer = PollTimer(self, spec.every)
        self._timer_due = False
        self._around = Around(services, spec, lambda: self._post(Nudge()))
        self._look = True
        self._queue: deque[Job] = deque()
        self._job = Job(Purpose.LOOK)
        self._row: SensorRow | None = None
        self._again: Callable[[], None] = self._read
        self._advance()

    def receive(self, message: Any) -> Any:
        """Serve one message of `sensors.messages`."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            return super().receive(message)
        handler(self, message)
        return None

    def terminate(self, reason: Any) -> None:
        """Let the sensor clean up, unless this is a crash."""
        if reason in ENDED_IN_ORDER and self._row is not None and self._row.cursor_text is not None:
            clean_up(self._services.polls, self._spec, self._gate, self._row.state, self.system.future())

    # -- what is asked for

    def _poll_asked(self, message: Poll) -> None:
        self._queue.append(Job(Purpose.MANUAL, self._services.fresh_id(), self.defer(), message.by))
        self._advance()

    def _timer_fired(self, message: TimerDue) -> None:
        self._timer.fired()
        self._timer_due = True
        self._advance()

    def _nudged(self, message: Nudge) -> None:
        # What calls for a poll must not undo the backoff of one that fails.
        row = self._row
        if row is not None and not row.consecutive_failures and not row.faults:
            self._timer_due = True
            self._advance()

    def _changed(self, message: Changed) -> None:
        known = None if self._row is None else self._row.state_version
        if message.state_version is None or message.state_version != known:
            self._look = True
            self._advance()

    # -- the job in hand, step by step

    def _advance(self) -> None:
        if self.phase is not Phase.IDLE:
            return
        if self._queue:
            self._job = self._queue.popleft()
        elif self._timer_due:
            self._timer_due = False
            self._job = Job(Purpose.TIMER)
        elif self._look:
            self._job = Job(Purpose.LOOK)
        else:
            return
        self._read()

    def _read(self) -> None:
        self.phase, self._look = Phase.READING, False
        services, name = self._services, self.name
        services.database.read_later(
            lambda connection: store.opening(connection, name, max_queue=services.max_queue),
            then=lambda outcome: self._post(Opened(outcome)),
        )

    def _opened(self, message: Opened) -> None:
        opening = self._given(message.outcome, self._read)
        if opening is None:
            return
        row = self._see(opening.row)
        job, now = self._job, self.clock.now()
        resting = row.paused or row.orphaned
        if job.purpose is not Purpose.MANUAL and resting or job.purpose is Purpose.LOOK and not _wants_init(row):
            self._finish()
            return
        job.start = begin(row, now, manual=job.manual, by=job.by)
        job.lateness = self._timer.lateness() if job.purpose is Purpose.TIMER else 0.0
        abandoned = self._abandoned()
        obstacle = obstacle_to(job, row, self._spec, backlog=opening.backlog, abandoned=abandoned)
        if obstacle is None:
            self._call(job.start)
        else:
            self._write(skip(job.start, obstacle, now=now, regular=self._timer.regular_wait()))

    def _call(self, start: Start) -> None:
        cursor, spec = start.row.cursor_text, self._spec
        call = partial(call_init, spec, self._around)
        try:
            if cursor is not None:
                call = partial(call_poll, spec, read_state(spec.sensor, cursor), self._around)
        except ValidationError as error:
            self._decide(start, Outcome(value=PollError(error, code="bad_cursor")))
            return
        if not self._gate.enter(lambda: self._post(GateOpened())):
            self.phase = Phase.WAITING
            return
        self.phase = Phase.CALLING
        self.generation += 1
        failpoint("poll.before_call")
        submit(self._services, spec, self._gate, call, self.generation, post=self._post)

    def _gate_opened(self, message: GateOpened) -> None:
        # The row may have changed while the earlier actor's call ran.
        self._read()

    def _called(self, message: Called) -> None:
        start = self._job.start
        if start is None or self.phase is not Phase.CALLING or message.generation != self.generation:
            self.stale_outcomes += 1
            return
        self._job.duration = message.outcome.duration
        failpoint("poll.after_call")
        if start.row.cursor_text is not None:
            self._decide(start, message.outcome)
            return
        first = first_cursor(self._spec, message.outcome)
        if isinstance(first, str):
            self._initialise(start.row, first)
        else:
            self._decide(start, first)

    def _initialise(self, row: SensorRow, cursor: str) -> None:
        self.phase = Phase.WRITING
        self._again = partial(self._initialise, row, cursor)
        self._services.database.write(
            lambda connection: store.initialise(connection, row, cursor),
            then=lambda outcome: self._post(Initialised(outcome)),
        )

    def _initialised(self, message: Initialised) -> None:
        row = self._given(message.outcome, self._again)
        if row is None:
            return
        failpoint("sensor.after_first_cursor")
        self._see(row)
        if self._job.purpose is Purpose.LOOK:
            self._finish()
        else:
            self._read()

    def _decide(self, start: Start, outcome: Outcome[Any]) -> None:
        evaluation = decide(
            self._spec,
            start,
            outcome,
            now=self.clock.now(),
            regular=self._timer.regular_wait(),
            abandoned=self._abandoned(),
            catalog=self._services.catalog,
        )
        self._write(evaluation)

    def _write(self, evaluation: Evaluation) -> None:
        self.phase = Phase.WRITING
        self._job.again = evaluation.again
        self._timer.hold(evaluation.retry_after)
        self._again = partial(self._write, evaluation)
        identity = self._services.identity
        self._services.database.write(
            lambda connection: store.commit(connection, evaluation, identity=identity),
            then=lambda outcome: self._post(Committed(outcome)),
        )

    def _committed(self, message: Committed) -> None:
        committed = self._given(message.outcome, self._again)
        if committed is None:
            return
        failpoint("poll.after_commit")
        self._see(committed.row)
        announce(self._services, committed, lateness=self._job.lateness, duration=self._job.duration)
        failpoint("poll.after_announcement")
        if self._job.again and committed.evaluation.status in SETTLED and self._spec.every is not None:
            self._timer_due = True
        if self._job.answer is not None:
            self._job.answer.offer(committed.evaluation)
        self._finish()

    def _finish(self) -> None:
        self.phase = Phase.IDLE
        if self._row is not None and not self._timer_due:
            self._timer.follow(self._row)
        self._advance()

    # -- what goes on beside it

    def _call_ended(self, message: CallEnded) -> None:
        broken = self._row is not None and Fault.ABANDONED in self._row.faults
        if broken and self._abandoned() < self._spec.max_abandoned:
            self._services.database.write(
                lambda connection: store.set_fault(connection, self.name, Fault.ABANDONED, present=False),
                then=lambda outcome: self._post(Changed()),
            )

    def _retried(self, message: Retry) -> None:
        self._again()

    def _given(self, outcome: Outcome[T], again: Callable[[], None]) -> T | None:
        """What the store gave; None when it failed, and is asked `again` in a while.

        Raises:
            FlowstoneError: this is no failure of the store.
        """
        if not isinstance(outcome.error, StoreUnavailable):
            return outcome.unwrap()
        log.warning("sensor %s waits for the store: %s", self.name, outcome.error)
        self._again = again
        self.send_after(STORE_RETRY, Retry())
        return None

    def _see(self, row: SensorRow) -> SensorRow:
        self._row = row
        self.state = row.state
        return row

    def _abandoned(self) -> int:
        return abandoned_of(self._services, self._spec)

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for sensor %s", type(message).__name__, self.name)


def _wants_init(row: SensorRow) -> bool:
    # After a failure it is the timer that tries again.
    return row.cursor_text is None and row.consecutive_failures == 0


_HANDLERS: Mapping[type[Any], Callable[[Worker, Any], None]] = {
    CallEnded: Worker._call_ended,
    Called: Worker._called,
    Changed: Worker._changed,
    Committed: Worker._committed,
    GateOpened: Worker._gate_opened,
    Initialised: Worker._initialised,
    Nudge: Worker._nudged,
    Opened: Worker._opened,
    Poll: Worker._poll_asked,
    Retry: Worker._retried,
    TimerDue: Worker._timer_fired,
}
