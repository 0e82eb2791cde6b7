"""The materializer: one actor for each run in progress.

It hands the run's assets to the executor as their dependencies allow, judges what comes back, and settles each in one
transaction under the lease of the claim. It never waits: calls, commits and repeated attempts come as messages.

Options: `store_retry` (seconds, 0.5) between tries of a commit that the store refused.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from actors import Actor, ActorDeadError
from flowstone.core.graph import Graph
from flowstone.errors import (
    ExecutionError,
    FlowstoneError,
    RuntimeStopped,
    StaleState,
    StoreUnavailable,
    text_of,
)
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs import events
from flowstone.runs.attempts import Ended, Failed, Waiting, judge
from flowstone.runs.execution import Attempt, execute
from flowstone.runs.leases import Claim, advance, settle_all
from flowstone.runs.ledger import Progress, Started
from flowstone.runs.messages import Advanced, Due, Executed, Settle, SettleAgain, Settled, SlotsFreed
from flowstone.runs.occupancy import Call
from flowstone.runs.recovery import release_busy
from flowstone.runs.reminding import SLOTS, look_at_deadlines, remind, tell_of_slots
from flowstone.runs.services import Services
from flowstone.runs.standing import Standing
from flowstone.runs.waiters import RunLeft
from flowstone.state.store_actor import TOPIC, StoreChanged

__all__ = ["Materializer"]

STORE_RETRY = 0.5

log = logging.getLogger(__name__)


class Materializer(Actor):
    """Works on one claimed run until it is finished, put off, or its lease is gone; then it stops by itself."""

    def init(self, services: Services, claim: Claim) -> None:
        """Start what the claim found ready."""
        self.services = services
        self.claim = claim
        self.errors: dict[str, FlowstoneError] = {}
        self.in_hand: set[str] = set()
        self.due: datetime | None = None
        self.ended: list[Settle] = []
        self.settling = False
        self.known: Standing | None = claim.progress.standing
        self.flying = 0
        self.asked = False
        self.limited = False
        self._proceed(claim.progress)

    def receive(self, message: Any) -> None:
        """Serve one message of `runs.messages`."""
        if isinstance(message, Executed):
            self._judge(message)
        elif isinstance(message, SettleAgain):
            self._write()
        elif isinstance(message, Settled):
            self._settled(message)
        elif isinstance(message, Due):
            self.due = None
            failpoint("run.before_repeat")
            self._look()
        elif isinstance(message, SlotsFreed | StoreChanged):
            self._look()
        elif isinstance(message, Advanced):
            self._end_step(message.outcome)
            self._advanced(message.outcome)

    def terminate(self, reason: object) -> None:
        """Revoke what still goes on: a call whose actor is gone stores nothing.

        What others have to hear of may be committed though its answer was lost, so they look once more.
        """
        self.services.calls.outlive(self.claim.lease.run_id)
        if self.asked:
            look_at_deadlines(self.services)
        if self.limited:
            tell_of_slots(self.services)

    def _proceed(self, progress: Progress) -> None:
        if progress.finished is not None or progress.released:
            run_id = self.claim.lease.run_id
            self.services.waiters.tell(RunLeft(run_id, dict(self.errors)))
            if progress.finished is not None:
                failpoint("run.after_end")
                events.finished(self.services, run_id)
            self.stop()
            return
        if progress.waits:
            # What it waits for may be decided, or given back, in another process.
            self.services.pubsub.subscribe(TOPIC, self.ref)
            self.services.pubsub.subscribe(SLOTS, self.ref)
        for started in progress.start:
            # Two answers may tell of one start, when the first of three commits was lost.
            if started.asset not in self.in_hand:
                self.in_hand.add(started.asset)
                self._execute(started)
        if progress.wait_until is not None and progress.wait_until != self.due:
            self.due = progress.wait_until
            self.send_after(max(0.0, (self.due - self.services.clock.now()).total_seconds()), Due())

    def _execute(self, started: Started) -> None:
        services, asset = self.services, self.services.catalog.assets[started.asset]
        self.limited = self.limited or services.limits.concern((asset.name,))
        call = services.calls.begin(self.claim.lease.run_id, asset.name, self.claim.partition)
        attempt = Attempt(services, self.claim, asset, started, call)
        if asset.process:
            # What may be killed is looked after: the run may be cancelled in another process.
            services.pubsub.subscribe(TOPIC, self.ref)
        events.attempt_started(services, self.claim, started)
        services.executor.submit(
            execute,
            attempt,
            timeout=asset.timeout,
            name=f"{asset.name}[{self.claim.partition}]",
            then=lambda outcome: self._executed(call, started, outcome),
            ended=lambda: _settle_call(services, call),
        )

    def _executed(self, call: Call, started: Started, outcome: Outcome[Any]) -> None:
        """On the executor's thread: a call that came back in time is over before its attempt is settled."""
        if not outcome.timed_out:
            _end_call(self.services, call)
        self._post(Executed(started, outcome))

    def _judge(self, message: Executed) -> None:
        asset = self.services.catalog.assets[message.started.asset]
        verdict = judge(
            asset,
            message.outcome,
            run_id=self.claim.lease.run_id,
            attempt=message.started.attempt,
            patient=self.claim.patient,
            snoozed_since=message.started.snoozed_since,
            now=self.services.clock.now(),
        )
        if isinstance(verdict, Failed):
            self.errors[asset.name] = verdict.error
            self.services.waiters.note(self.claim.lease.run_id, asset.name, verdict.error)
        started, duration = message.started, message.outcome.duration
        self._settle(Settle(asset.name, started.attempt, verdict, duration, started.approval))

    def _settle(self, asked: Settle) -> None:
        """Write what became of an attempt: with the next transaction, together with all that ends until then."""
        self.asked = self.asked or isinstance(asked.verdict, Waiting)
        self.ended.append(asked)
        if not self.settling:
            self._write()

    def _write(self, most: int | None = None) -> None:
        services, lease = self.services, self.claim.lease
        graph: Graph = services.catalog.graph
        number = len(self.ended) if most is None else most
        asked, self.ended, self.settling = tuple(self.ended[:number]), self.ended[number:], True
        others = self.in_hand - {each.asset for each in asked}
        known = self._begin_step()
        services.database.write(
            lambda connection: settle_all(
                connection,
                graph,
                lease,
                [_ended(services, lease.run_id, each) for each in asked],
                now=services.clock.now(),
                in_hand=others,
                limits=services.limits,
                known=known,
            ),
            then=lambda outcome: self._post(Settled(asked, outcome)),
        )

    def _settled(self, message: Settled) -> None:
        self._end_step(message.outcome)
        error = message.outcome.error
        if isinstance(error, StoreUnavailable):
            log.warning("run %s waits for the store: %s", self.claim.lease.run_id, error)
            self.ended[:0] = message.asked
            self.send_after(STORE_RETRY, SettleAgain())
            return
        if error is not None and not isinstance(error, StaleState):
            self._refused(message.asked, error)
            return
        failpoint("run.after_settle")
        self.settling = False
        asked = message.asked
        if isinstance(error, StaleState):
            asked, self.ended = (*asked, *self.ended), []
        for each in asked:
            self._tell(each, error if isinstance(error, StaleState) else None)
        self._advanced(message.outcome)
        if self.ended:
            self._write()

    def _refused(self, asked: tuple[Settle, ...], error: BaseException) -> None:
        """What became of an attempt is nothing that a store can hold: that is how it failed. Of several, look which.

        Raises:
            BaseException: not even that can be stored.
        """
        first = asked[0]
        if len(asked) == 1 and isinstance(first.verdict, Failed):
            raise error
        if len(asked) == 1:
            told = ExecutionError(f"what became of it can't be stored: {type(error).__name__}: {text_of(error)}")
            first = replace(first, verdict=Failed(told))
            self.errors[first.asset] = told
        self.ended[:0] = [first, *asked[1:]]
        self._write(1)

    def _tell(self, asked: Settle, refused: StaleState | None) -> None:
        """Tell of an attempt that is settled, or that is nobody's any more."""
        self.in_hand.discard(asked.asset)
        if self.services.limits.concern((asked.asset,)):
            tell_of_slots(self.services)
        if refused is not None:
            # Whoever cancelled the run from another process has left the partition to the call, which may be over.
            _release_ended(self.services, self.claim, asked.asset)
        events.attempt_ended(self.services, self.claim, asked, refused)
        if isinstance(asked.verdict, Waiting):
            failpoint("approval.after_request")
            look_at_deadlines(self.services)
            events.asked(self.services, self.claim.lease.run_id, asked.asset)

    def _look(self) -> None:
        services, lease, graph = self.services, self.claim.lease, self.services.catalog.graph
        in_hand, known = frozenset(self.in_hand), self._begin_step()
        services.database.write(
            lambda connection: advance(
                connection, graph, lease, now=services.clock.now(), in_hand=in_hand, limits=services.limits, known=known
            ),
            then=lambda outcome: self._post(Advanced(outcome)),
        )

    def _begin_step(self) -> Standing | None:
        """How the run stands, for a step that is on its way alone; one that follows another has to read it."""
        self.flying += 1
        return self.known if self.flying == 1 else None

    def _end_step(self, outcome: Outcome[Progress]) -> None:
        self.flying -= 1
        self.known = outcome.unwrap().standing if outcome.ok else None

    def _advanced(self, outcome: Outcome[Progress]) -> None:
        if isinstance(outcome.error, StaleState):
            log.info("run %s was cancelled, or taken over: %s", self.claim.lease.run_id, outcome.error)
            # Or it is finished, by a commit of which the answer was lost: who waits looks again.
            self.services.waiters.tell(RunLeft(self.claim.lease.run_id, dict(self.errors)))
            self.stop()
        elif isinstance(outcome.error, StoreUnavailable):
            self.send_after(STORE_RETRY, Due())
        else:
            self._proceed(outcome.unwrap())

    def _post(self, message: object) -> None:
        """Tell this actor from another thread; what comes after its end is nobody's."""
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for run %s", message, self.claim.lease.run_id)


def _ended(services: Services, run_id: str, asked: Settle) -> Ended:
    """What became of an attempt, within the transaction that writes it: its call may go on."""
    busy = bool(services.calls.outlive(run_id, asked.asset))
    return Ended(asked.asset, asked.verdict, asked.duration, busy, asked.attempt, asked.approval)


def _end_call(services: Services, call: Call) -> None:
    """A call has come back: when its attempt was over before, its (asset, partition) is free now."""
    if services.calls.end(call):
        _release(services, call)


def _release_ended(services: Services, claim: Claim, asset: str) -> None:
    """Free the (asset, partition) of an attempt that nobody waits for, unless its call goes on, and frees it itself."""
    if not services.calls.outlive(claim.lease.run_id, asset):
        _release(services, Call(claim.lease.run_id, asset, claim.partition))


def _settle_call(services: Services, call: Call) -> None:
    """A call has come back, and whoever made it knows."""
    _end_call(services, call)
    call.settle()


def _release(services: Services, call: Call) -> None:
    """Free the (asset, partition) of a call that has come back at last; as often as the store has to be asked."""

    def then(outcome: Outcome[None]) -> None:
        if isinstance(outcome.error, StoreUnavailable):
            services.clock.call_after(STORE_RETRY, lambda: _release(services, call))
        else:
            failpoint("put_back.after_release")
            services.wake()
            remind(services, call.run_id)  # an attempt of its own may have waited for the call

    # A store that is closed holds nothing: the next boot asks for what it holds itself.
    with suppress(RuntimeStopped):
        services.database.write(
            lambda connection: release_busy(connection, call.run_id, call.asset, boot=services.boot), then
        )
