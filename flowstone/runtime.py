"""The runtime: the face of a started tree, for programs that embed it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from actors import ChildSpec, Clock, Row, System
from flowstone.aio import Aio, Startable
from flowstone.assembly import Settings, io_managers_of
from flowstone.config import Config, chosen
from flowstone.core.checks import check_int
from flowstone.core.keywords import checked_keywords
from flowstone.core.run import Identity
from flowstone.durations import seconds
from flowstone.errors import ForkedRuntime, RuntimeStopped, TimeoutExceeded, ValidationError, shown
from flowstone.groups import Groups
from flowstone.health import NOT_RUNNING, Health
from flowstone.hosted import Hosted
from flowstone.io import IOManager
from flowstone.pipeline import Pipeline
from flowstone.pruning import checked_retention
from flowstone.resources.book import ResourceBook
from flowstone.resources.calls import Resources
from flowstone.resources.resource import check_resources
from flowstone.running import Running, start
from flowstone.runs.services import Services
from flowstone.schedules.calls import Schedules
from flowstone.schedules.rows import ScheduleRow
from flowstone.sensors.calls import Sensors
from flowstone.telemetry import Telemetry
from flowstone.topics import Topics

__all__ = ["Runtime"]

DEADLINE = 30.0
BACKENDS = ("auto", "greenlets", "threads")


@checked_keywords
class Runtime(Startable, Groups):
    """Keeps the assets of its pipelines fresh while it runs; use it as a context manager, or `start()` and `stop()`.

    Options, with their defaults: `store` ("sqlite:///flowstone.db"), `backend` ("auto": greenlets), `clock` (the real
    one), `io_managers` (by name, beside `memory` and `files`), `io_manager` (the name of the default one: `files`, or
    `memory` for a memory store), `max_concurrency` (32 runs and user threads), `max_queue` (10,000 unfinished runs,
    past which sensors pause), `pools` (how many assets of a pool execute at once, by name; 1 unless given), `resources`
    (by name, in the order of their set-up), `system` (a host's own), `scheduler` and `sensors` (whether they run here),
    `namespace` and `secret` (of run ids), `retention` (a duration, "365d", or "forever": older history is pruned).

    What is not given, or None, is what `config` says; without one, what `FLOWSTONE_<NAME>` says, else `flowstone.toml`
    or `[tool.flowstone]` in the current directory, else the default. `config=flowstone.config.Config()` is the defaults
    alone, whatever the machine's configuration.

    Raises:
        ValidationError: an option is wrong.
        ConfigError: the environment or a file says something wrong.
    """

    def __init__(
        self,
        *pipelines: Pipeline,
        store: str | None = None,
        backend: str | None = None,
        clock: Clock | None = None,
        io_managers: Mapping[str, IOManager] | None = None,
        io_manager: str | None = None,
        resources: Mapping[str, Any] | None = None,
        max_concurrency: int | None = None,
        max_queue: int | None = None,
        pools: Mapping[str, int] | None = None,
        system: System | None = None,
        scheduler: bool | None = None,
        sensors: bool | None = None,
        namespace: str | None = None,
        secret: str | None = None,
        retention: object = None,
        config: Config | None = None,
    ) -> None:
        _check_pipelines(pipelines)
        options = chosen(
            config,
            store=store,
            backend=backend,
            io_manager=io_manager,
            max_concurrency=max_concurrency,
            max_queue=max_queue,
            scheduler=scheduler,
            sensors=sensors,
            namespace=namespace,
            secret=secret,
            retention=None if retention is None else checked_retention(retention),
        )
        if options["backend"] not in BACKENDS:
            told = f"expected backend to be one of {', '.join(BACKENDS)}, got: {shown(options['backend'])}"
            raise ValidationError(told)
        managers, default = io_managers_of(options["store"], io_managers or {}, options["io_manager"])
        self._book = _book_of(pipelines, resources or {})
        self._settings = Settings(
            url=options["store"],
            pipelines=pipelines,
            io=managers,
            default_io=default,
            identity=Identity(options["namespace"], options["secret"]),
            max_concurrency=check_int("max_concurrency", options["max_concurrency"], minimum=1),
            max_queue=check_int("max_queue", options["max_queue"], minimum=1),
            retention=checked_retention(options["retention"]),
            pools=dict(pools or {}),
            scheduler=options["scheduler"],
            sensors=options["sensors"],
            backend=options["backend"],
            clock=clock,
            system=system,
            resources=self._book,
        )
        self._aio = Aio(self)
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._pid = os.getpid()

    @classmethod
    def child_spec(cls, *pipelines: Pipeline, **options: Any) -> ChildSpec:
        """A whole runtime as a child, `flowstone`, of a host's supervisor; options as of the constructor.

        `supervisor.child("flowstone").runtime` is the runtime; stopping the child, or the supervisor, frees the store.

        Raises:
            ValidationError: an option is wrong.
        """
        return ChildSpec(Hosted, id="flowstone", args=(cls(*pipelines, **options),))

    @property
    def settings(self) -> Settings:
        """What the runtime was told."""
        return self._settings

    def enter(self, running: Running) -> None:
        """Run as a child of a host's supervisor, which says so."""
        self._running, self._pid = running, os.getpid()

    def leave(self) -> float:
        """Run no more, as the host's supervisor says; the seconds that runs in progress have to finish."""
        self._running = None
        return DEADLINE

    def start(self) -> Self:
        """Start everything; harmless when it runs already.

        Raises:
            ValidationError: the definitions do not fit together.
            StoreLocked, StoreUnavailable: the store is held by another runtime, or can't be used.
        """
        with self._lock:
            if self._running is None:
                self._pid = os.getpid()
                self._running = start(self._settings)
        return self

    def stop(self, timeout: object = DEADLINE) -> None:
        """Take no more work, let what runs finish for `timeout` (real time), put the rest back, and end.

        Harmless when repeated, when it was never started, and in a process forked from the one that started it.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            running, self._running = self._running, None
            if running is not None:
                running.stop(seconds(timeout, "timeout"))

    def run_forever(self, *, ready: Callable[[], object] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then shut down in order; a second signal ends the process at once.

        `ready` is called once, as soon as signals are heeded.

        Raises:
            RuntimeStopped: the root of the tree gave up, or the runtime was not started.
        """
        running = self._get()
        with running.ending.heeded() as wait:
            if ready is not None:
                ready()
            wait()
            reason = running.down
            self.stop()
        if reason is not None:
            cause = reason if isinstance(reason, BaseException) else None
            raise RuntimeStopped(f"the tree of actors gave up: {reason!r}") from cause

    def drain(self, timeout: object = None) -> None:
        """Wait until nothing is due, queued or running; not for what is due later.

        Raises:
            TimeoutExceeded: `timeout` (real time) passed.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        if not self._get().drain(limit):
            raise TimeoutExceeded(f"there was still work to do after {limit:g} s")

    @property
    def schedules(self) -> Schedules:
        """Calls about schedules."""
        return self._get().schedules

    def schedule(self, asset: str, **options: Any) -> ScheduleRow:
        """`schedules.create(asset, target=asset, …)`: the short form for the one schedule of an asset."""
        return self.schedules.create(asset, **{"target": asset, **options})

    def unschedule(self, asset: str) -> None:
        """`schedules.delete(asset)`."""
        self.schedules.delete(asset)

    def list_schedules(self) -> tuple[ScheduleRow, ...]:
        """`schedules.list()`."""
        return self.schedules.list()

    @property
    def sensors(self) -> Sensors:
        """Calls about sensors."""
        return self._get().sensors

    @property
    def pubsub(self) -> Topics:
        """What the runtime publishes, by topic."""
        return self._get().topics

    @property
    def telemetry(self) -> Telemetry:
        """Events about what happens, for handlers that are attached to it, before the start too."""
        return self._settings.telemetry

    def tree(self) -> Row:
        """The actors as they are now: the row of the root, with its `children`; its text is a drawing."""
        return self._get().tree()

    def actor(self, *path: str) -> Any:
        """The ref of an actor of the tree, by the ids that lead to it: `actor("services", "scheduler")`.

        Raises:
            ChildNotFound: there is none.
        """
        ref: Any = self._get().root
        for id in path:
            ref = ref.child(id)
        return ref

    @property
    def resources(self) -> Resources:
        """Calls about resources; those of tests before the start too."""
        return Resources(self._book)

    def health(self) -> Health:
        """How the runtime is, computed from what progressed; of one that does not run too."""
        running = self._running
        return NOT_RUNNING if running is None else running.health()

    @property
    def _services(self) -> Services:
        return self._get().services

    def _get(self) -> Running:
        if os.getpid() != self._pid:
            raise ForkedRuntime(
                f"this runtime belongs to process {self._pid}, of which process {os.getpid()} is a fork: "
                "start a runtime after the fork"
            )
        running = self._running
        if running is None:
            raise RuntimeStopped("the runtime is not running: call start(), or use it as a context manager")
        if running.down is not None:
            raise RuntimeStopped(f"the tree of actors gave up: {running.down!r}; stop() and start() it again")
        return running


def _check_pipelines(given: Iterable[object]) -> None:
    for pipeline in given:
        if not isinstance(pipeline, Pipeline):
            raise ValidationError(f"expected pipelines, got: {shown(pipeline)}")


def _book_of(pipelines: Iterable[Pipeline], own: Mapping[str, Any]) -> ResourceBook:
    """The resources that the pipelines bring along, and the runtime's own, which come first by name."""
    brought = {name: value for pipeline in pipelines for name, value in pipeline.resources.items()}
    return ResourceBook({**brought, **check_resources(own)})
