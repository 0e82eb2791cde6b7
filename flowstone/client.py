"""A client: the store of a runtime, opened beside it and without actors.

What needs no actor works the same as on the runtime, in the same transactions; the runtime that holds the store sees
the commits within a second. Where no runtime holds it, the client first writes the definitions of its pipelines, as a
runtime would at its start.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import Self

from actors import RealClock, WorkCount
from actors.pubsub import PubSub
from flowstone.aio import Aio, Startable
from flowstone.assembly import Definitions, Settings, checked_catalog, io_managers_of, register_all, services_of
from flowstone.config import Config, chosen
from flowstone.core.catalog import Catalog
from flowstone.core.keywords import checked_keywords
from flowstone.core.run import Identity
from flowstone.errors import RuntimeStopped, ValidationError, shown
from flowstone.groups import Groups
from flowstone.health import Health
from flowstone.pipeline import Pipeline
from flowstone.runs.dynamic import follow
from flowstone.runs.services import Services
from flowstone.schedules.calls import Schedules
from flowstone.sensors.client_calls import SensorsBeside
from flowstone.sensors.calls import Sensors
from flowstone.state.database import Database
from flowstone.state.url import Kind, place_of
from flowstone.vitals import vitals

__all__ = ["Client"]


@checked_keywords
class Client(Startable, Groups):
    """The calls of a runtime that need no actor; use it as a context manager, or by `start` and `stop`.

    What is not given of `store`, `namespace` and `secret` is what `config` says, else the environment or a file, as of
    `Runtime`.

    Raises:
        ValidationError: what is given is no pipeline.
        ConfigError: the URL of the store is wrong.
    """

    def __init__(
        self,
        *pipelines: Pipeline,
        store: str | None = None,
        namespace: str | None = None,
        secret: str | None = None,
        config: Config | None = None,
    ) -> None:
        for pipeline in pipelines:
            if not isinstance(pipeline, Pipeline):
                raise ValidationError(f"expected pipelines, got: {shown(pipeline)}")
        options = chosen(config, store=store, namespace=namespace, secret=secret)
        managers, default = io_managers_of(options["store"], {}, None, stores_values=False)
        self._settings = Settings(
            url=options["store"],
            pipelines=pipelines,
            io=managers,
            default_io=default,
            identity=Identity(options["namespace"], options["secret"]),
            max_concurrency=1,
            max_queue=10_000,
            scheduler=False,
            sensors=False,
            backend="auto",
            clock=None,
            system=None,
        )
        self._aio = Aio(self)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._parts = ExitStack()
        self._open: Services | None = None
        self._definitions = Definitions.of(pipelines, self._settings.handlers)

    def start(self) -> Self:
        """Open the store; harmless when it is open already.

        Raises:
            ValidationError: the definitions do not fit together.
            StoreUnavailable: the store can't be used.
        """
        catalog = checked_catalog(self._settings)
        with self._lock, ExitStack() as parts:
            if self._open is not None:
                return self
            opened = self._opened(catalog, parts)
            parts.callback(follow(opened))
            if self._settings.pipelines:
                # Who comes without a pipeline has nothing to say about definitions, least of all that they left the
                # code.
                register_all(self._settings, opened, beside=True)
            self._open, self._parts, self._pid = opened, parts.pop_all(), os.getpid()
        return self

    def stop(self) -> None:
        """Close the store; harmless when repeated, and in a process forked from the one that opened it."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._open = None
            self._parts.close()

    def health(self) -> Health:
        """How the runtime is that holds the store, computed from the progress that the store tells of.

        Raises:
            StoreUnavailable: the store can't be read.
        """
        services = self._services
        specs = {spec.name: spec for spec in self._definitions.sensors.specs()}
        local, now = place_of(self._settings.url).kind is Kind.SQLITE, services.clock.now()
        return services.database.read(lambda connection: vitals(connection, now, local=local, specs=specs)).health

    @property
    def served(self) -> bool:
        """Whether a runtime holds the store, which does what is asked for."""
        return not self._services.database.transact(lambda connection: connection.alone())

    @property
    def schedules(self) -> Schedules:
        """Calls about schedules."""
        return Schedules(self._services, self._definitions.rules)

    @property
    def sensors(self) -> Sensors:
        """Calls about sensors; a poll is made in this process, `ref` is refused."""
        return SensorsBeside(self._services, self._definitions.sensors)

    @property
    def _services(self) -> Services:
        if self._open is None:
            raise RuntimeStopped("the client is not open: call start(), or use it as a context manager")
        return self._open

    def _opened(self, catalog: Catalog, parts: ExitStack) -> Services:
        work = WorkCount()
        clock = RealClock()
        parts.callback(clock.close)
        database = Database.open(self._settings.url, work=work, exclusive=False)
        parts.callback(database.close)
        return services_of(self._settings, catalog, database, parts, clock=clock, work=work, pubsub=PubSub())
