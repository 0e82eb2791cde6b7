"""The dispatcher: claims queued runs under the limits and gives each a materializer.

It sleeps until a commit wakes it, a materializer ends, or a run that was put off is due. A materializer that dies
without finishing its run is an interruption: the run is put back, and started again under a new actor. So is a claim
that the store may have committed without telling: nothing is claimed until what has no materializer was put back.

Options: `max_concurrency` of the services (runs in progress, 32); `store_retry` (seconds, 0.5).
Registers as `dispatcher` in the directory; its materializers are children of `materializers`.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from actors import Actor, ActorDeadError, ActorRef, ChildSpec, Down, DynamicSupervisor, Future, Restart
from actors.messages import is_normal
from actors.monitors import Token
from flowstone.core.run import RunStatus
from flowstone.errors import StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.outcome import Outcome
from flowstone.runs import events
from flowstone.runs.leases import Claim, Claimed, claim
from flowstone.runs.materializer import STORE_RETRY, Materializer
from flowstone.runs.messages import Claims, Quiesce, Recover, Recovered, Swept, Wake
from flowstone.runs.recovery import NODE_ENDED, put_back, recover, running_of
from flowstone.runs.reminding import look_at_deadlines, tell_of_slots
from flowstone.runs.services import Services
from flowstone.runs.waiters import RunLeft
from flowstone.state.connection import Connection
from flowstone.state.store_actor import NODES, TOPIC, DutiesChanged, StoreChanged

__all__ = ["Dispatcher", "Materializers"]

log = logging.getLogger(__name__)


class Materializers(DynamicSupervisor):
    """The materializers, one for each run in progress; temporary, since the durable run is what restarts."""

    # An init is no method that others call: its arguments are those of its own child spec.
    def init(self, services: Services) -> None:  # type: ignore[override]
        """Make itself known to the dispatcher."""
        super().init()
        services.directory["materializers"] = self.ref


class Dispatcher(Actor):
    """One for each runtime."""

    def init(self, services: Services) -> None:
        """Adopt the living materializers, put back what of this boot has none, and claim."""
        self.services = services
        self.active: dict[Token, str] = {}
        self.claiming = True
        self.wanted = False
        self.quiesced: list[Future[None]] = []
        self.quiet = False
        self.timer: Any = None
        self.timer_at: datetime | None = None
        self.materializers = services.directory["materializers"]
        services.directory["dispatcher"] = self.ref
        services.pubsub.subscribe(TOPIC, self.ref)
        services.pubsub.subscribe(NODES, self.ref)
        for child in self.materializers.which_children():
            self._watch(child.id, child.ref)
        self._recover(Recover((), "its actor was lost"))
        if services.membership.shared:
            # Nodes may have ended since the start, before this actor could hear of it.
            self._sweep()

    def receive(self, message: Any) -> None:
        """Serve one message of `runs.messages`, or the `Down` of a materializer."""
        if isinstance(message, Wake):
            self._claim()
        elif isinstance(message, StoreChanged):
            self.services.waiters.stir()
            self._claim()
        elif isinstance(message, DutiesChanged):
            self._sweep()
        elif isinstance(message, Claims):
            self._claimed(message.outcome)
        elif isinstance(message, Down):
            self._down(message)
        elif isinstance(message, Recover):
            self._recover(message)
        elif isinstance(message, Recovered):
            self._recovered(message)
        elif isinstance(message, Swept):
            self._swept(message.outcome)
        elif isinstance(message, Quiesce):
            self._quiesce()

    def _claim(self) -> None:
        free = self.services.max_concurrency - len(self.active)
        if self.claiming or free <= 0 or self.quiet:
            self.wanted = self.claiming
            return
        services = self.services
        self.claiming, self.wanted = True, False
        services.database.write(
            lambda connection: claim(
                connection,
                services.catalog.graph,
                boot=services.boot,
                now=services.clock.now(),
                limit=free,
                occupied=services.calls.held(),
                limits=services.limits,
            ),
            then=lambda outcome: self._post(Claims(outcome)),
        )

    def _claimed(self, outcome: Outcome[Claimed]) -> None:
        if isinstance(outcome.error, StoreUnavailable):
            log.warning("no run can be claimed: %s", outcome.error)
            self.send_after(STORE_RETRY, Recover((), "the answer to its claim was lost"))
            return
        self.claiming = False
        claimed = outcome.unwrap()
        if claimed.claims:
            failpoint("run.after_claim")
        for run_id in claimed.finished:
            self.services.waiters.tell(RunLeft(run_id))
            events.finished(self.services, run_id)
        events.started(self.services, claimed.claims)
        for one in claimed.claims:
            self._start(one)
        self._arm(claimed.next_at)
        if self.wanted or claimed.finished:
            self._claim()

    def _start(self, one: Claim) -> None:
        spec = ChildSpec(Materializer, id=one.lease.run_id, args=(self.services, one), restart=Restart.TEMPORARY)
        self._watch(one.lease.run_id, self.materializers.start_child(spec))

    def _watch(self, run_id: str, ref: ActorRef) -> None:
        self.active[self.monitor(ref)] = run_id

    def _down(self, message: Down) -> None:
        run_id = self.active.pop(message.token)
        if not is_normal(message.reason):
            self._recover(Recover((run_id,), f"its actor ended: {message.reason!r}"))
        self._claim()
        if not self.active and self.quiet:
            self._answer_quiesced()

    def _sweep(self) -> None:
        """Put back what nodes have left that do not live any more."""
        services = self.services

        def swept(outcome: Outcome[tuple[str, ...]]) -> None:
            self._post(Swept(outcome))

        services.database.write(
            lambda connection: recover(connection, boot=services.boot, now=services.clock.now()), swept
        )

    def _swept(self, outcome: Outcome[tuple[str, ...]]) -> None:
        if isinstance(outcome.error, StoreUnavailable):
            log.warning("runs of nodes that have ended wait for the store: %s", outcome.error)
            self.send_after(STORE_RETRY, DutiesChanged())
            return
        for run_id in outcome.unwrap():
            events.interrupted(self.services, run_id, NODE_ENDED)
            self.services.waiters.tell(RunLeft(run_id))
        self._claim()

    def _recover(self, asked: Recover) -> None:
        """Put back the runs named, or all of this boot that have no materializer."""
        services, living = self.services, frozenset(self.active.values())

        def step(connection: Connection) -> dict[str, bool]:
            now = services.clock.now()
            lost = asked.run_ids or tuple(set(running_of(connection, services.boot)) - living)
            put_back = {run_id: _put_back(connection, services, run_id, now, asked.reason) for run_id in lost}
            return {run_id: status is RunStatus.FAILED for run_id, status in put_back.items() if status is not None}

        services.database.write(step, then=lambda outcome: self._post(Recovered(asked, outcome)))

    def _recovered(self, message: Recovered) -> None:
        if isinstance(message.outcome.error, StoreUnavailable):
            log.warning("interrupted runs wait for the store: %s", message.outcome.error)
            self.send_after(STORE_RETRY, message.asked)
            return
        failpoint("put_back.after_commit")
        for run_id, is_over in message.outcome.unwrap().items():
            events.interrupted(self.services, run_id, message.asked.reason)
            tell_of_slots(self.services)
            look_at_deadlines(self.services)
            if is_over:
                self.services.waiters.tell(RunLeft(run_id))
                events.finished(self.services, run_id)
        if not message.asked.run_ids:
            self.claiming = False
        self._claim()

    def _arm(self, due: datetime | None) -> None:
        if due == self.timer_at:
            return
        if self.timer is not None:
            self.cancel(self.timer)
        self.timer_at = due
        delay = None if due is None else max(0.0, (due - self.services.clock.now()).total_seconds())
        self.timer = None if delay is None else self.send_after(delay, Wake())

    def _quiesce(self) -> None:
        self.quiet = True
        self.quiesced.append(self.defer())
        if not self.active:
            self._answer_quiesced()

    def _answer_quiesced(self) -> None:
        for answer in self.quiesced:
            answer.set(None)
        self.quiesced.clear()

    def _post(self, message: object) -> None:
        try:
            self.ref.tell(message)
        except ActorDeadError:
            log.debug("%s came too late for the dispatcher", message)


def _put_back(
    connection: Connection, services: Services, run_id: str, now: datetime, reason: str
) -> RunStatus | None:
    """Put a run back: queued, or finished as poisoned; None when it was not running any more."""
    busy = services.calls.outlive(run_id)
    return put_back(connection, run_id, now=now, reason=reason, boot=services.boot, busy=busy)
