"""One life of the process: a whole runtime, from its start until it is stopped or dies, advanced step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from actors import ActorError, System, WorkCount
from actors.cell import Cell
from actors.events import ActorCrashed, Event
from actors.messages import Crash, Stop, Tick
from actors.testing.serial import SerialBackend
from flowstone.assembly import Parts, Settings
from flowstone.core.run import Identity
from flowstone.errors import FlowstoneError, RuntimeStopped
from flowstone.io import IOManager
from flowstone.pipeline import Pipeline
from flowstone.running import Running, start
from flowstone.state.connection import Connection
from flowstone.testing.simulate.calls import CallBook, SimulatedExecutor
from flowstone.testing.simulate.faults import Dice
from flowstone.testing.simulate.journal import Journal
from flowstone.testing.simulate.store import READERS, SimulatedStore
from flowstone.testing.simulate.time import LifeClock, WorldTime

__all__ = ["InjectedCrash", "Life", "Surroundings", "settings_of"]

STOP_DEADLINE = 30.0

LONGEST_TIMER = 3600.0
"""Seconds. A scheduler that looks at the clock each minute would do little else in an idle month."""


class InjectedCrash(Exception):
    """What actors crash with in a simulated world."""


EXPLAINED = (InjectedCrash, ActorError, RuntimeStopped)


@dataclass(slots=True)
class Surroundings:
    """What outlives a process: time, the disk, stored values, the dice, the log, and the books."""

    pipelines: tuple[Pipeline, ...]
    time: WorldTime
    dice: Dice
    journal: Journal
    disk: Connection
    values: Mapping[str, IOManager]
    crashes: list[str] = field(default_factory=list)
    """Actors that crashed, and no fault made them."""
    book: CallBook = field(default_factory=CallBook)


def settings_of(around: Surroundings, **own: Any) -> Settings:
    """What a simulated runtime is told; `own` is what belongs to one life."""
    defaults = {"clock": None, "system": None, "parts": Parts()}
    return Settings(
        url="memory://",
        pipelines=around.pipelines,
        io=around.values,
        default_io="memory",
        identity=Identity(),
        max_concurrency=32,
        max_queue=10_000,
        scheduler=True,
        sensors=True,
        backend="auto",
        **{**defaults, **own},
    )


class Life:
    """A runtime that runs, or is about to; `over` when it has ended by itself, with the reason."""

    def __init__(self, around: Surroundings, number: int) -> None:
        self.around = around
        self.number = number
        self.clock = LifeClock(around.time)
        self.running: Running | None = None
        self.over: str | None = None
        self.stopping = False
        self.defect: Exception | None = None
        """What no fault explains, and no life after this one would be spared."""
        self._executors: list[SimulatedExecutor] = []
        self._stores: list[SimulatedStore] = []
        self._ids = around.dice.of("ids")
        self.system = System(backend=self._new_backend, clock=self.clock, name=f"life-{number}", blocked_after=None)
        self.system.events.subscribe(self._watch)
        self.backend.spawn(self._start)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.backend.alive

    @property
    def calling(self) -> bool:
        """Whether a call of user code goes on."""
        return any(executor.busy for executor in self._executors)

    def step(self) -> bool:
        """Let one thing happen, drawn from those that can; False when nothing can before time goes on."""
        if not self._stores:
            return False
        ready, store = self.backend.ready, self._stores[0]
        actors, writes = len(ready), store.writable
        choices = actors + writes + min(READERS, len(store.reads))
        if not choices:
            return False
        chosen = self.around.dice.pick(choices)
        if chosen < actors:
            self._turn(chosen)
        elif writes and chosen == actors:
            store.write_next()
        else:
            store.read_next(chosen - actors - writes)
        if self.running is not None and self.running.down is not None and self.over is None:
            self.over = "its tree of actors gave up"
        return True

    def spawn(self, fn: Callable[[], object]) -> None:
        """Call `fn`, which may wait, as a thread of the program would."""
        self.backend.spawn(fn)

    def stop(self) -> None:
        """Stop in order; `over` tells when that is done."""
        if self.running is None or self.stopping:
            self.over = "stopped before it had started"
            return
        self.stopping = True
        self.spawn(partial(self._stop, self.running))

    def late_writes(self) -> list[Callable[[], None]]:
        """What this process has on the way to the store, which may arrive after its death."""
        return [write for store in self._stores for write in store.late_writes()]

    def die(self) -> None:
        """End at once."""
        for store in self._stores:
            store.die()
        for executor in self._executors:
            executor.die()
        self.around.book.die()
        self.backend.die()

    def _watch(self, event: Event) -> None:
        """Note a crash that was not made on purpose, nor follows from one as the loss of another actor does."""
        if isinstance(event, ActorCrashed) and self.alive and not isinstance(event.reason, EXPLAINED):
            self.around.crashes.append(f"{event.path}: {type(event.reason).__name__}: {event.reason}")

    def _new_backend(self, work: WorkCount, name: str) -> SerialBackend:
        self.backend = SerialBackend(work, self.clock)
        return self.backend

    def _start(self) -> None:
        parts = Parts(
            database=self._new_store,
            executor=self._new_executor,
            processes=None,
            fresh_id=self._fresh_id,
            longest_timer=LONGEST_TIMER,
        )
        try:
            self.running = start(settings_of(self.around, clock=self.clock, system=self.system, parts=parts))
        except (FlowstoneError, ActorError, InjectedCrash) as error:
            self.over = f"it could not start: {type(error).__name__}"
        except Exception as error:
            self.defect = error

    def _stop(self, running: Running) -> None:
        try:
            running.stop(STOP_DEADLINE)
            self.over = "stopped"
        except Exception as error:
            self.over = f"it could not stop: {type(error).__name__}"

    def _turn(self, index: int) -> None:
        cell = self.backend.ready[index]
        if not isinstance(cell, Cell):
            self.backend.run(index)
            return
        message = cell.mailbox[0][0] if cell.mailbox else None
        self.around.journal.note("message", f"{cell.path} {_named(message)}")
        crashes = message is not None and cell.status == "running" and type(message) is not Stop
        if not crashes or not self.around.dice.happens("crashes"):
            self.backend.run(index)
            return
        how = self.around.dice.of("how it crashes").choice(("before", "at", "after"))
        self.around.journal.note("crash", f"{cell.path} {how} {_named(message)}")
        error = InjectedCrash(f"{how} {_named(message)}")
        if how == "at":
            reply = cell.mailbox.popleft()[1]
            if reply is not None:
                reply.offer(None, error)
        if how != "after":
            cell.send(Crash(error))
        self.backend.run(index)
        if how == "after" and not cell.dead:
            cell.send(Crash(error))

    def _new_store(self, url: str, *, work: WorkCount) -> SimulatedStore:
        around = self.around
        store = SimulatedStore(around.disk, clock=self.clock, dice=around.dice, journal=around.journal, work=work)
        self._stores.append(store)
        return store

    def _new_executor(self, name: str, **options: Any) -> SimulatedExecutor:
        around = self.around
        executor = SimulatedExecutor(name, **options, dice=around.dice, journal=around.journal, book=around.book)
        self._executors.append(executor)
        return executor

    def _fresh_id(self) -> str:
        return f"{self._ids.getrandbits(128):032x}"


def _named(message: Any) -> str:
    return type(message.timer.message if type(message) is Tick else message).__name__
