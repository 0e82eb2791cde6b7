"""The system: one backend with its clock, names, topics, events and the count of work in flight."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from actors.backends.base import Backend, current_task
from actors.backends.futures import Future
from actors.backends.threads import ThreadBackend
from actors.backends.watchdog import WatchedHub, Watchdog
from actors.backends.work import WorkCount
from actors.cell import Cell
from actors.clock import Clock
from actors.errors import ForkedSystem, SpecError, SystemStopped, WouldBlock
from actors.events import Events, HubBlocked
from actors.mailbox import make_cell
from actors.messages import SHUTDOWN, Down, Trace, Unwatch, Watch
from actors.monitors import Token
from actors.process import adopt
from actors.pubsub import PubSub
from actors.raw import Guard
from actors.ref import ActorRef
from actors.registry import Registry
from actors.shutdown import stop_all
from actors.spec import ChildSpec, positive
from actors.tree import Row, row_of

__all__ = ["System"]

logger = logging.getLogger("actors")
BACKENDS = ("auto", "greenlets", "threads")
STOP_TIMEOUT = 10.0


class System:
    """Actors that share a backend and a clock.

    Options: `backend` is `"greenlets"` (one hub; what `"auto"` means) or `"threads"` (a thread for each actor);
    `clock` by default the real one, in tests a `ManualClock`; `name` shows in threads and reports; `blocked_after`
    real seconds without a turn a hub is reported as blocked (None: never). Use it as a context manager, or call
    `stop()`; what still runs when the interpreter ends is stopped then.
    """

    def __init__(
        self,
        backend: str | Callable[[WorkCount, str], Backend] = "auto",
        clock: Clock | None = None,
        name: str = "actors",
        *,
        blocked_after: float | None = 1.0,
    ) -> None:
        if isinstance(backend, str) and backend not in BACKENDS:
            raise SpecError(f"expected backend to be one of {', '.join(BACKENDS)}, got: {backend!r}")
        if blocked_after is not None:
            positive("blocked_after", blocked_after)
        if clock is not None and not callable(getattr(clock, "call_after", None)):
            raise SpecError(f"expected clock to be a clock, got: {clock!r}")
        self.name = name
        self.work = WorkCount()
        self.events = Events()
        self.registry = Registry()
        self.pubsub = PubSub()
        self.abandoned: list[str] = []
        self._guard = Guard()
        self._roots: dict[Cell, None] = {}
        self._serial = itertools.count(1)
        self._stopping = False
        self.backend = backend(self.work, name) if callable(backend) else _make_backend(backend, self.work, name)
        self.backend.owner = name
        self.clock: Clock = clock if clock is not None else self.backend.real
        self.backend.clock = self.clock
        self.monotonic = self.clock.monotonic
        attach = getattr(self.clock, "attach", None)
        if attach is not None:
            attach(self)
        self._watchdog = self._watch_hub(blocked_after) if blocked_after is not None else None
        adopt(self)

    @property
    def backend_name(self) -> str:
        """Return `"greenlets"` or `"threads"`."""
        return self.backend.name

    def start(self, cls: type[Any], *args: Any, **kwargs: Any) -> Any:
        """Start an actor without a supervisor and return its ref; `init(*args, **kwargs)` has ended well by then.

        Raises what `init` raised, SystemStopped, and SpecError for a class that is no actor.
        """
        name = getattr(cls, "__name__", "actor")
        return self.spawn(ChildSpec(cls, id=f"{name}-{next(self._serial)}", args=args, kwargs=kwargs))

    def spawn(self, spec: ChildSpec) -> Any:
        """Start the actor that `spec` describes, named by its id, without a supervisor; returns its ref."""
        if not hasattr(spec.cls, "ref_class"):
            raise SpecError(f"expected a class of actors, got: {spec.cls!r}")
        if self.backend.forked:
            raise ForkedSystem(self.name)
        cell = make_cell(self, spec, f"/{spec.name}")
        with self._guard:
            if self._stopping:
                raise SystemStopped(f"system {self.name!r} has been stopped; {spec.name} can't be started")
            self._roots[cell] = None
        return cell.launch().get()

    def future(self) -> Future[Any]:
        """Return a new future: set from any thread, waited for from any thread or actor."""
        return Future()

    def watch(self, ref: ActorRef, callback: Callable[[Down], object]) -> Token:
        """Call `callback(Down)` once when the actor ends, at once when it has.

        In the ending actor's context, so it must not block.
        """
        cell = ref.cell
        if cell is None:
            raise SpecError(f"expected a started actor, got: {ref!r}")
        token = Token(ref, cell)

        def sink(reason: Any) -> None:
            try:
                callback(Down(ref, reason, token))
            except Exception:
                logger.exception("a watcher of %s failed", ref)

        cell.send(Watch(token, sink))
        return token

    def trace(self, ref: ActorRef, on: bool = True) -> None:
        """Let each message that the actor handles from now on be a `MessageHandled` event; `on=False` ends that."""
        if ref.cell is not None:
            ref.cell.send(Trace(on))

    def unwatch(self, token: Token) -> None:
        """Take back a watch."""
        token.target.send(Unwatch(token))

    def tree(self) -> tuple[Row, ...]:
        """Return the rows of all actors without a supervisor, each with its children."""
        now = self.clock.monotonic()
        with self._guard:
            roots = list(self._roots)
        return tuple(row_of(root, None, now) for root in roots)

    def stop(self, timeout: float = STOP_TIMEOUT) -> bool:
        """Stop all actors, the last started first, and the backend; harmless when stopped already.

        Returns whether all ended within `timeout` real seconds.
        """
        if current_task() is not None:
            raise WouldBlock(
                "a system can't be stopped by one of its actors, which would wait for itself; stop it from outside"
            )
        with self._guard:
            if self._stopping:
                return True
            self._stopping = True
            if self.backend.forked:
                return True
            roots = list(self._roots)
        if self._watchdog is not None:
            self._watchdog.stop()
        monotonic = self.backend.real.monotonic
        deadline = monotonic() + timeout
        clean = all(
            [
                stop_all([root], max(0.0, deadline - monotonic()), SHUTDOWN, graceful=True)
                for root in reversed(roots)
            ]
        )
        return self.backend.stop(max(0.1, deadline - monotonic())) and clean

    @property
    def stopped(self) -> bool:
        """Tell whether `stop` has been called."""
        return self._stopping

    def forget(self, cell: Cell) -> None:
        """Take an ended root out of the tree."""
        with self._guard:
            self._roots.pop(cell, None)

    def _watch_hub(self, threshold: float) -> Watchdog | None:
        backend = self.backend
        if not isinstance(backend, WatchedHub):
            return None
        events = self.events

        def report(path: str, seconds: float, stack: str) -> None:
            logger.warning(
                "%s has held the hub up for %.1f s; blocking calls belong into a thread\n%s", path, seconds, stack
            )
            events.emit(HubBlocked(path, seconds, stack))

        return Watchdog(backend, threshold, report)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<System {self.name} on {self.backend_name}>"


def _make_backend(name: str, work: WorkCount, system: str) -> Backend:
    if name == "threads":
        return ThreadBackend(work)
    # gevent is heavy, and only loaded by who asks for greenlets.
    from actors.backends.greenlets import GreenletBackend

    return GreenletBackend(work, system)
