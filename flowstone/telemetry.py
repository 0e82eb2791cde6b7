"""Telemetry: what happens in a runtime, as events for those who attached a handler.

    handle = runtime.telemetry.attach("flowstone.schedule.", handler)     # handler(event, measurements, metadata)
    runtime.telemetry.detach(handle)

An event is told after the commit of what it tells of. Measurements are numbers, durations in seconds; metadata names
the subject under `sensor`, `schedule`, `asset` or `run_id`. Prometheus and OpenTelemetry are handlers that
`flowstone.exporters` has.

| event | measurements | metadata besides the subject |
|---|---|---|
| `flowstone.schedule.tick` | `lateness count` | `tick_id scheduled_for status reason run_id manual` |
| `flowstone.schedule.missed` | `lateness count` | the same |
| `flowstone.sensor.evaluated` | `duration lateness request_count duplicate_count` | `eval_id cause status reason` |
| `flowstone.sensor.triggered` | `count` | `eval_id partition`; one for each partition |
| `flowstone.sensor.error` | `duration failures` | as `evaluated` |
| `flowstone.run.requested` | `count` | `run_key asset partition source` |
| `flowstone.run.started` | `queue_age` | `run_key asset partition source` |
| `flowstone.run.interrupted` | `count` | `reason` |
| `flowstone.run.finished` | `duration queue_age interruptions` | `run_key asset partition status error reason` |
| `flowstone.materialization.start` | `attempt` | `run_id partition` |
| `flowstone.materialization.stop` | `attempt duration` | `run_id partition status reason` |
| `flowstone.materialization.exception` | `attempt duration` | `run_id partition error error_type final` |
| `flowstone.io.start` | none | `run_id partition operation io_manager`; a load `for_run_id for_asset` |
| `flowstone.io.stop` | `duration`, and `bytes` where known | the same |
| `flowstone.io.exception` | `duration` | the same, `error error_type` |
| `flowstone.approval.requested` | `waited` | `approval_id run_id partition message by reason` |
| `flowstone.approval.approved` | `waited` | the same |
| `flowstone.approval.rejected` | `waited` | the same |
| `flowstone.approval.modified` | `waited` | the same |
| `flowstone.approval.escalated` | `waited` | the same |
| `flowstone.approval.expired` | `waited` | the same |
| `flowstone.resource.up` | `failures` | `resource reason` |
| `flowstone.resource.down` | `failures` | `resource reason` |
| `flowstone.backfill.started` | `partitions` | `backfill asset` |
| `flowstone.backfill.finished` | `count` | `backfill status` |
| `flowstone.task.fired` | `lateness count` | `task scheduled_for` |
| `flowstone.task.missed` | `lateness count` | the same |
| `flowstone.event.handled` | `duration` | `event_type event_id` |
| `flowstone.event.failed` | `duration` | the same, `error` |
| `flowstone.actor.restart` | `restarts` | `actor reason`, and `sensor` for the actor of one |

Handlers run on the executor for user code, never in an actor: each gets its events one after the other, in order. One
that raises, or takes longer than its timeout, is detached, and that is logged and audited; one that is too slow for
its queue loses the newest events, which are counted. Without handlers an event costs one look at an empty tuple.

Options: `QUEUE` (events that wait for one handler), `TIMEOUT` (seconds for a handler).
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from actors.clock import Clock
from actors.raw import Lock
from flowstone.errors import FlowstoneError, ForkedRuntime, RuntimeStopped, ValidationError, shown
from flowstone.outcome import Outcome

__all__ = ["QUEUE", "TIMEOUT", "Executor", "Handle", "Handler", "Telemetry"]

QUEUE = 10_000
TIMEOUT = 5.0

TURN = 0.1
"""Seconds after which a handler's thread is given back between two events."""

Handler = Callable[[str, dict[str, Any], dict[str, Any]], object]
Told = tuple[str, dict[str, Any], dict[str, Any]]

log = logging.getLogger(__name__)


class Executor(Protocol):
    """Where handlers run."""

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        timeout: float | None,
        name: str,
        then: Callable[[Outcome[Any]], None],
    ) -> object:
        """Call `fn` on a thread, then `then` with the outcome; never blocks."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where handlers run, on which clock, and whom to tell of one that was detached for its faults."""

    executor: Executor
    clock: Clock
    report: Callable[[Handle, str], None]


class Handle:
    """A handler that was attached, for events whose name begins with `prefix`.

    `dropped` counts the events that the handler was too slow for; `attached` is False once it is called no more.
    """

    def __init__(self, prefix: str, handler: Handler) -> None:
        self.prefix = prefix
        self._handler = handler
        self.dropped = 0
        self.attached = True
        self._busy = False
        self._queue: deque[Told] = deque()
        self._lock = Lock()
        self._waiting: list[Any] = []

    @property
    def name(self) -> str:
        """What the handler is called in logs."""
        named = self._handler if hasattr(self._handler, "__qualname__") else type(self._handler)
        return f"{named.__module__}.{named.__qualname__}"

    def put(self, told: Told) -> None:
        """Queue an event, or count it as dropped."""
        with self._lock:
            if len(self._queue) < QUEUE:
                self._queue.append(told)
                return
            self.dropped += 1
        if self.dropped == 1:
            log.warning("telemetry handler %s is too slow: events are dropped, and counted", self.name)

    def serve(self, clock: Clock) -> None:
        """Hand on what is queued, for a turn."""
        until = clock.monotonic() + TURN
        while self.attached and self._queue and clock.monotonic() <= until:
            self._handler(*self._queue.popleft())


class Telemetry:
    """The handlers of a runtime, attached from any thread, before it starts too; `runtime.telemetry` is one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._handles: tuple[Handle, ...] = ()
        self._stage: _Stage | None = None

    @property
    def active(self) -> bool:
        """Whether anybody listens: without, there is no need to put an event together."""
        return bool(self._handles)

    def attach(self, prefix: str, handler: Handler) -> Handle:
        """Call `handler(event, measurements, metadata)` for each event whose name begins with `prefix`, from now on.

        The two dictionaries are the handler's own.

        Raises:
            ValidationError: the prefix is no text, or the handler is not callable, or async.
        """
        _check(prefix, handler)
        handle = Handle(prefix, handler)
        with self._lock:
            self._handles = (*self._handles, handle)
        return handle

    def detach(self, handle: Handle) -> None:
        """Call the handler no more; what waits for it is dropped. Harmless when it was detached before.

        Raises:
            ValidationError: this is no handle.
        """
        if not isinstance(handle, Handle):
            raise ValidationError(f"expected the handle that attach gave, got: {shown(handle)}")
        with self._lock:
            self._handles = tuple(known for known in self._handles if known is not handle)
        handle.attached = False

    def emit(self, event: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Tell those who listen; never blocks, and never raises."""
        for handle in self._handles:
            if event.startswith(handle.prefix):
                handle.put((event, dict(measurements), dict(metadata)))
                self._serve(handle)

    def open(self, executor: Executor, clock: Clock, report: Callable[[Handle, str], None]) -> None:
        """Let handlers run from now on; `report` is told of those that are detached for their faults, and why."""
        self._stage = _Stage(executor, clock, report)
        for handle in self._handles:
            self._serve(handle)

    def close(self, timeout: float) -> None:
        """Let handlers have what is queued, for up to `timeout` real seconds, and then nothing more until `open`."""
        for handle in self._handles:
            done = Lock()
            done.acquire()
            with handle._lock:
                busy = handle._busy
                if busy:
                    handle._waiting.append(done)
            if busy:
                done.acquire(timeout=timeout)
        self._stage = None

    def _serve(self, handle: Handle) -> None:
        """Give a handler a turn, unless it has one or nothing waits for it."""
        stage = self._stage
        with handle._lock:
            if stage is None or handle._busy or not handle._queue or not handle.attached:
                return
            handle._busy = True
        name = f"telemetry handler {handle.name}"
        try:
            stage.executor.submit(
                handle.serve,
                stage.clock,
                timeout=TIMEOUT,
                name=name,
                then=lambda outcome: self._served(stage, handle, outcome),
            )
        except FlowstoneError as error:
            self._served(stage, handle, Outcome(error=error))

    def _served(self, stage: _Stage, handle: Handle, outcome: Outcome[Any]) -> None:
        # Where the executor stops, the runtime does: it is not the handler that failed, and no turn will follow.
        stopped = isinstance(outcome.error, RuntimeStopped | ForkedRuntime)
        if not outcome.ok and not stopped and handle.attached:
            self.detach(handle)
            why = f"it took longer than {TIMEOUT:g} s" if outcome.timed_out else f"it raised {shown(outcome.error)}"
            log.error("telemetry handler %s was detached: %s", handle.name, why, exc_info=outcome.error)
            stage.report(handle, why)
        with handle._lock:
            handle._busy = False
        if handle._queue and handle.attached and not stopped:
            self._serve(handle)
            return
        with handle._lock:
            waiting, handle._waiting = handle._waiting, []
        for done in waiting:
            done.release()


def _check(prefix: object, handler: object) -> None:
    if not isinstance(prefix, str):
        raise ValidationError(f"expected prefix to be the beginning of event names, got: {shown(prefix)}")
    call = getattr(handler, "__call__", None)  # noqa: B004 - of an object, which may be async too
    if not callable(handler) or inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call):
        expected = "expected handler to be a plain function of (event, measurements, metadata)"
        raise ValidationError(f"{expected}, got: {shown(handler)}")
