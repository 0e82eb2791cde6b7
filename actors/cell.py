"""The cell: one incarnation of an actor, with its mailbox, its life, and who wants to know of its end.

Everything here happens in the actor's own turn, but for `finish` of an actor that can't be stopped, which its
supervisor calls. The end of an actor, in order:
1. `terminate(reason)`, unless it was killed or `init` failed;
2. the mailbox closes; from here on nothing is accepted, and what a name that survives restarts was told goes to the
   successor;
3. timers, names and subscriptions go; asks still waiting are answered with the reason;
4. its supervisor is told, then links, then monitors, then who waited for the end.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from actors.backends.base import Envelope, Reply, Task
from actors.backends.futures import Future
from actors.errors import ActorDeadError
from actors.events import MessageHandled
from actors.messages import KILLED, ChildExited, ExitSignal, Start, StopBy, Watch, is_normal
from actors.report import report_end
from actors.signals import FORGIVING, SIGNALS, SPECIAL, answer_for

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.slot import Slot
    from actors.system import System

__all__ = ["Cell"]

logger = logging.getLogger("actors")


class Cell(Task):
    """One incarnation of an actor."""

    __slots__ = (
        "_path",
        "_ref",
        "actor",
        "args",
        "cls",
        "current",
        "deferred",
        "in_hand",
        "kwargs",
        "last",
        "last_at",
        "links",
        "names",
        "parent",
        "reason",
        "slot",
        "started_at",
        "status",
        "stopping",
        "system",
        "timers",
        "topics",
        "traced",
        "waiters",
        "watchers",
        "watching",
    )

    def __init__(
        self,
        system: System,
        cls: type[Any],
        path: str,
        *,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parent: Cell | None = None,
        slot: Slot | None = None,
    ) -> None:
        super().__init__(system.backend, slot.lock if slot is not None else None)
        self.system = system
        self.cls = cls
        self._path = path
        self.args = args
        self.kwargs = kwargs
        self.parent = parent
        self.slot = slot
        self.actor: Any = None
        self._ref: ActorRef | None = None
        self.status = "starting"
        self.reason: Any = None
        self.stopping: Any = None
        self.current: Any = None
        self.traced = False
        self.in_hand: Reply | None = None
        self.last: type[Any] | None = None
        self.started_at = self.last_at = system.clock.monotonic()
        self.links: set[Cell] | None = None
        self.watchers: dict[Any, Callable[[Any], object]] | None = None
        self.watching: dict[Any, ActorRef] | None = None
        self.timers: set[Any] | None = None
        self.deferred: set[Future[Any]] | None = None
        self.names: set[str] | None = None
        self.topics: set[str] | None = None
        self.waiters: list[Reply] | None = None

    bounded = False
    plain = True

    @property
    def path(self) -> str:
        return self._path

    @property
    def ref(self) -> ActorRef:
        """Return the ref of this incarnation."""
        if self._ref is None:
            self._ref = self.cls.ref_class(self)
        return self._ref

    def counters(self) -> dict[str, int]:
        """Return how many messages a full mailbox has dropped, refused and let wait."""
        return {}

    def launch(self) -> Future[Any]:
        """Start the actor; the future gets its ref when `init` has ended, or the error of `init`."""
        started: Future[Any] = Future()
        started.target = self
        with self.lock:
            # In the hub's thread or before the thread's start: signals that a name passed on already come after the
            # start.
            self.urgent = deque((Start(started), *(self.urgent or ())))
        self.backend.start(self)
        return started

    def dead_error(self) -> ActorDeadError:
        """Return the error that a message to this ended actor gets."""
        return ActorDeadError(self._path, self.reason)

    def ended(self) -> Future[Any]:
        """Return a future that is settled when the actor has ended."""
        future: Future[Any] = Future()
        future.target = self
        self.send(Watch(future, future.offer))
        return future

    # -- a turn

    def run(self) -> None:
        # One function, since each call for each message shows.
        self.last_at = self.system.monotonic()
        mailbox, left = self.mailbox, self.backend.fair_share
        while left:
            if self.urgent and self._obey() or not mailbox:
                return
            envelope = mailbox.popleft() if self.plain else self.take()
            began = time.perf_counter() if self.traced else 0.0
            message, self.in_hand, _ = envelope
            kind = self.last = type(message)
            self.handled += 1
            self.current = message
            try:
                answer = SPECIAL[kind](self, message) if kind in SPECIAL else self.actor.receive(message)
            except BaseException as error:  # noqa: B036 - whatever it was, it ends this actor alone
                self._crashed(message, envelope[1], error)
            else:
                reply = self.in_hand
                if reply is not None:
                    self.in_hand = None
                    reply.offer(answer)
                self.current = None
                if self.stopping is not None:
                    self.finish(self.stopping)
            if began:
                self._trace(message, time.perf_counter() - began)
            if self.dead:
                return
            left -= 1

    def take(self) -> Envelope:
        """Take the next message out of a mailbox that is not empty."""
        return self.mailbox.popleft()

    def _obey(self) -> bool:
        """Act on the signals; returns whether the actor is dead."""
        late: StopBy | None = None
        while self.urgent and not self.dead:
            signal = self.urgent.popleft()
            if type(signal) is StopBy and self.backend.real.monotonic() < signal.deadline and self.mailbox:
                late = signal
                continue
            try:
                SIGNALS[type(signal)](self, signal)
            except BaseException as error:  # noqa: B036 - whatever it was, it ends this actor alone
                self._crashed(signal, None, error)
            if self.stopping is not None and not self.dead:
                self.finish(self.stopping)
        if late is not None and self.urgent is not None:
            self.urgent.append(late)
        return self.dead

    def _trace(self, message: Any, seconds: float) -> None:
        error = self.reason if isinstance(self.reason, BaseException) else None
        self.system.events.emit(MessageHandled(self._path, message, seconds, error))

    def _crashed(self, message: Any, reply: Reply | None, error: BaseException) -> None:
        if self.dead:
            # Ended from outside in the middle of this message.
            if reply is not None:
                reply.offer(None, self.dead_error())
            return
        passed_on = isinstance(error, KeyboardInterrupt) and self.backend.interrupted(error)
        if reply is not None:
            self.in_hand = None
            reply.offer(None, ActorDeadError(self._path, error) if passed_on else error)
            if type(message) in FORGIVING:
                return
        if type(error).__name__ == "Killed":
            self.finish(KILLED, terminate=False)
        else:
            self.finish(error)

    def defer(self) -> Future[Any]:
        """Take over the answer of the ask in hand.

        What is told instead of asked gets a future that nobody waits for.
        """
        reply, self.in_hand = self.in_hand, None
        if reply is None:
            return Future()
        # Whoever is handed the future answers, not this actor: waiting for it makes no cycle.
        reply.target = None
        if self.deferred is None:
            self.deferred = set()
        deferred, asked = self.deferred, reply
        later: Future[Any] = Future()
        deferred.add(later)

        def answer() -> None:
            deferred.discard(later)
            asked.offer(later.value, later.exception())

        later.on_done(answer)
        return later

    # -- the end

    def kill(self) -> None:
        """End the actor now, without `terminate`, wherever it is.

        A thread that can't be broken off is left to itself.
        """
        self.backend.call(self._kill)

    def _kill(self) -> None:
        if not self.dead:
            self.finish(KILLED, terminate=False)
            self.backend.kill(self)

    def let_go(self, timeout: float) -> bool:
        """Wait up to `timeout` real seconds until the ended actor's thread or greenlet is free of it.

        Returns whether that came.
        """
        return self.backend.reap(self).settled(timeout)

    def finish(self, reason: Any, *, terminate: bool = True) -> None:
        """End the actor with `reason`; harmless when it has ended."""
        if terminate and self.status == "running":
            self.status = "stopping"
            reason = self._terminate(reason)
        with self.lock:
            if self.dead:
                return
            self.dead = True
            self.reason = reason
            left = list(self.mailbox)
            self.mailbox.clear()
            signals, self.urgent = self.urgent, None
            if self.slot is not None:
                left = self.slot.keep(self, left)
        failed_start = self.status == "starting"
        self.status = "ended"
        self._clear_up()
        if not failed_start:
            report_end(self)
        self._answer(left, signals)
        self._tell_of_the_end(reason, failed_start)
        self.actor = None
        self.current = None

    def _terminate(self, reason: Any) -> Any:
        try:
            self.actor.terminate(reason)
        except BaseException as error:  # noqa: B036 - whatever it was, it ends this actor alone
            logger.exception("%s failed in terminate", self._path)
            return error if is_normal(reason) else reason
        return reason

    def _clear_up(self) -> None:
        if self.timers:
            for timer in list(self.timers):
                timer.cancel()
        if self.names:
            self.system.registry.forget(self)
        if self.topics:
            self.system.pubsub.forget(self)
        if self.watching:
            self.watching.clear()
        if self.reason == KILLED and self.actor is not None and self.cls.supervises:
            self.actor.orphan()

    def _answer(self, left: list[Envelope], signals: Any) -> None:
        if self.in_hand is not None:
            self.in_hand.offer(None, self.dead_error())
        for reply in list(self.deferred or ()):
            reply.offer(None, self.dead_error())
        for envelope in left:
            self.lost(envelope)
        for signal in signals or ():
            self.lost(signal)

    def _tell_of_the_end(self, reason: Any, failed_start: bool) -> None:
        if self.parent is None:
            self.system.forget(self)
        elif not failed_start:
            self.parent.send(ChildExited(self.slot, self, reason))
        for other in self.links or ():
            other.send(ExitSignal(self, reason))
        for sink in (self.watchers or {}).values():
            sink(reason)
        for waiter in self.waiters or ():
            waiter.offer(True)

    def lost(self, item: Any) -> None:
        answer_for(self, item)
