"""The executor of worker processes: a call that is given up is killed, and one that kills its process fails alone.

A call waits on a thread of its caller's while a worker makes it. Workers are warm: one that is free takes the next
call, several of a runtime's one after the other, and ends when it had nothing to do for `IDLE_SECONDS`. A new one costs
what starting Python and importing the user's module do.

A call is revoked at its timeout, when its run is cancelled, and when the runtime stops:

1. before the worker has it: it is never made, and the worker stays;
2. while the worker has it: SIGTERM to the worker's process group, SIGKILL after `GRACE`;
3. after it came back: nothing.

A worker that ends before it began a call was ill before: another one gets the call, a fresh one only once.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from actors.backends.work import Token, WorkCount
from actors.raw import Guard, Lock, start_thread
from flowstone.core.asset import Asset
from flowstone.core.context import Context
from flowstone.errors import ExecutionError, RuntimeStopped, StaleState
from flowstone.executors.frames import Closed
from flowstone.executors.origin import ADVICE, importing_main, loads
from flowstone.executors.parcel import Begun, Logged, Raised, Returned, WorkerClock, packed, unpacked_error
from flowstone.executors.process import GRACE, WorkerProcess

__all__ = ["IDLE_SECONDS", "ProcessExecutor", "Revocable"]

IDLE_SECONDS = 30.0
"""How long a worker waits for its next call before it ends, in real seconds."""

START_SECONDS = 60.0
"""Real seconds for which a manual clock waits for a worker that starts."""


class Revocable(Protocol):
    """A call that may be revoked while it goes on."""

    def on_revoke(self, kill: Callable[[], None] | None) -> None:
        """Call `kill` once the call is revoked, at once when it is already; None takes it back."""

    def hold(self, token: Token) -> None:
        """Count as work by this token, in place of the last one, until what follows from the call is on its way."""


@dataclass(slots=True, eq=False)
class _Lease:
    """A call's hold on a worker; `kill` harms nobody who has the worker later."""

    worker: WorkerProcess
    work: WorkCount
    revocable: Revocable
    gate: Any = field(default_factory=Guard)
    sent: bool = False
    over: bool = False
    killed: bool = False

    def kill(self) -> None:
        """End the worker, as long as the call is in it."""
        with self.gate:
            if self.over or self.killed:
                return
            self.killed = True
            if self.sent:
                self.revocable.hold(self.work.begin(f"{self.worker.name}: its end"))
                self.worker.kill()

    def may_send(self) -> bool:
        """Whether the call was not revoked yet; from now on the worker has it."""
        with self.gate:
            self.sent = not self.killed
            return self.sent

    def end(self) -> bool:
        """The call has come back; whether its worker is as good as before."""
        with self.gate:
            self.over = True
            return not (self.sent and self.killed)


class _Died(Exception):
    """A worker ended while it had a call."""

    def __init__(self, worker: WorkerProcess, begun: bool) -> None:
        super().__init__(worker, begun)
        self.worker = worker
        self.begun = begun


class ProcessExecutor:
    """Runs functions of assets in worker processes."""

    def __init__(self, name: str, *, work: WorkCount) -> None:
        self.name = name
        self._work = work
        self._numbers = itertools.count(1)
        self._gate = Guard()
        self._idle: list[tuple[float, WorkerProcess]] = []
        self._leases: set[_Lease] = set()
        self._stopped = False
        self._sweeping = False
        self._alarm = Lock()
        self._alarm.acquire()

    def call(self, asset: Asset, context: Context, dependencies: Mapping[str, Any], revocable: Revocable) -> Any:
        """What the asset's function returns; blocks the calling thread.

        Raises:
            ExecutionError: the call or its value can't travel, or the worker died, named with its signal.
            StaleState: the call was revoked before it began.
            RuntimeStopped: the executor was stopped.
            BaseException: what the function raised; its cause tells where.
        """
        _refuse_in_main()
        level = logging.getLogger(f"flowstone.asset.{asset.name}").getEffectiveLevel()
        travelling = replace(context, clock=WorkerClock.like(context.clock))
        job = packed(asset.fn, asset.passes, travelling, dependencies, level)
        while True:
            lease = self._take(revocable)
            fresh = lease.worker.calls == 1
            try:
                answer = self._ask(lease, job, asset.name)
            except _Died as died:
                if died.begun or fresh or lease.killed:
                    raise self._death(asset.name, died) from None
                continue
            if isinstance(answer, Raised):
                raise unpacked_error(answer)
            return answer.value

    def workers(self) -> list[int]:
        """The process ids of the workers, those at rest first."""
        with self._gate:
            return [worker.pid for _, worker in self._idle] + [lease.worker.pid for lease in self._leases]

    def stop(self) -> None:
        """Take no more calls, kill those that go on, and let idle workers end; harmless when repeated.

        Blocks until the workers have ended, SIGKILL being the last resort.
        """
        with self._gate:
            self._stopped = True
            idle = [worker for _, worker in self._idle]
            self._idle.clear()
            busy = list(self._leases)
            if self._sweeping and self._alarm.locked():
                self._alarm.release()
        for worker in idle:
            worker.close()
        for lease in busy:
            lease.kill()
        last = time.monotonic() + GRACE
        for worker in [*idle, *(lease.worker for lease in busy if lease.sent)]:
            worker.force(max(0.0, last - time.monotonic()))

    def _take(self, revocable: Revocable) -> _Lease:
        with self._gate:
            if self._stopped:
                raise RuntimeStopped(f"executor {self.name} is stopped")
            worker = None
            while self._idle and worker is None:
                _, found = self._idle.pop()
                if found.ended:
                    found.close()
                else:
                    worker = found
            lease = _Lease(worker if worker is not None else self._started(), self._work, revocable)
            lease.worker.calls += 1
            self._leases.add(lease)
            return lease

    def _started(self) -> WorkerProcess:
        try:
            return WorkerProcess(f"{self.name}-{next(self._numbers)}")
        except OSError as error:
            raise ExecutionError(f"no worker process could be started: {error}", retryable=True) from error

    def _ask(self, lease: _Lease, job: bytes, name: str) -> Returned | Raised:
        """Let the worker make the call, and put it back among the idle ones when it may go on."""
        lease.revocable.on_revoke(lease.kill)
        answer: Returned | Raised | None = None
        try:
            if not lease.may_send():
                raise StaleState(f"the attempt at {name} was given up before it began")
            answer = self._conversation(lease, job, name)
            return answer
        finally:
            lease.revocable.on_revoke(None)
            self._give_back(lease, well=lease.end() and (answer is not None or not lease.sent))

    def _conversation(self, lease: _Lease, job: bytes, name: str) -> Returned | Raised:
        worker, begun = lease.worker, False
        counting = _Counting(self._work, f"{worker.name}: {name}", lease.revocable)
        try:
            worker.send(job)
            while True:
                message = _read(worker.receive(None if begun else counting.renew))
                if isinstance(message, Returned | Raised):
                    return message
                if isinstance(message, Logged):
                    _log(message)
                elif isinstance(message, Begun):
                    begun = True
                    counting.renew()
        except Closed:
            counting.renew()
            raise _Died(worker, begun) from None

    def _give_back(self, lease: _Lease, *, well: bool) -> None:
        worker = lease.worker
        with self._gate:
            self._leases.discard(lease)
            if well and not self._stopped and not worker.ended:
                self._idle.append((time.monotonic(), worker))
                if not self._sweeping:
                    self._sweeping = True
                    start_thread(f"{self.name} idle", self._sweep)
                return
        worker.close()
        start_thread(f"{worker.name} end", worker.force)

    def _sweep(self) -> None:
        """End the workers that have been idle for long; returns when none is idle."""
        while True:
            with self._gate:
                limit = time.monotonic() - IDLE_SECONDS
                late = [worker for since, worker in self._idle if since <= limit]
                self._idle = [(since, worker) for since, worker in self._idle if since > limit]
                self._sweeping = bool(self._idle)
                pause = self._idle[0][0] - limit if self._idle else 0.0
            for worker in late:
                worker.close()
            for worker in late:
                worker.force()
            if not self._sweeping:
                return
            self._alarm.acquire(timeout=pause)

    def _death(self, name: str, died: _Died) -> Exception:
        worker = died.worker
        fate = worker.fate()
        if self._stopped:
            return RuntimeStopped(f"executor {self.name} was stopped while {name} was running")
        when = "while it made" if died.begun else "before it began"
        message = f"the worker process of asset {name!r} (pid {worker.pid}) {fate} {when} its value"
        return ExecutionError(message, asset=name, pid=worker.pid)


class _Counting:
    """A call as work in flight. A manual clock leaves out what takes long; what starts is not what hangs."""

    def __init__(self, work: WorkCount, what: str, revocable: Revocable) -> None:
        self._work, self._what, self._revocable = work, what, revocable
        self._last = time.monotonic() + START_SECONDS
        self.renew()

    def renew(self) -> None:
        """Count from now, as long as a start may take."""
        if time.monotonic() < self._last:
            self._revocable.hold(self._work.begin(self._what))


def _read(data: bytes) -> object:
    """A message of a worker's; one that can't be read here is the end of its call."""
    try:
        return loads(data)
    except Exception as error:
        text = f"its value can't be read back from a worker process: {type(error).__name__}: {error}"
        return Raised(None, text, text)


def _log(message: Logged) -> None:
    record = logging.makeLogRecord(dict(message.record))
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _refuse_in_main() -> None:
    """A script that starts its runtime while it is imported would start workers without an end."""
    file = importing_main()
    if file is not None:
        raise ExecutionError(f"{file} runs an asset in a process while a worker process imports it: {ADVICE}")
