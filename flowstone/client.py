"""A client: the store of a runtime, opened beside it and without actors.

What needs no actor works the same as on the runtime, in the same transactions; the runtime that holds the store sees
the commits within a second. Where no runtime holds it, the client first writes the definitions of its pipelines, as a
runtime would at its start.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from actors import RealClock, WorkCount
from actors.pubsub import PubSub
from flowstone.assembly import Definitions, Settings, checked_catalog, io_managers_of, register_all, services_of
from flowstone.config import Config, chosen
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity
from flowstone.errors import RuntimeStopped, ValidationError, shown
from flowstone.groups import Groups
from flowstone.pipeline import Pipeline
from flowstone.runs.dynamic import follow
from flowstone.runs.services import Services
from flowstone.schedules.calls import Schedules
from flowstone.sensors.client_calls import SensorsBeside
from flowstone.sensors.calls import Sensors
from flowstone.state.database import Database

__all__ = ["Client"]


class Client(Groups):
    """The calls of a runtime that need no actor; use it as a context manager.

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
        self._parts = ExitStack()
        self._open: Services | None = None
        self._definitions = Definitions.of(pipelines, self._settings.handlers)

    def __enter__(self) -> Self:
        """Open the store.

        Raises:
            ValidationError: the definitions do not fit together.
            StoreUnavailable: the store can't be used.
        """
        catalog = checked_catalog(self._settings)
        with ExitStack() as parts:
            opened = self._opened(catalog, parts)
            parts.callback(follow(opened))
            if self._settings.pipelines:
                # Who comes without a pipeline has nothing to say about definitions, least of all that they left the
                # code.
                register_all(self._settings, opened, beside=True)
            self._open, self._parts = opened, parts.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = None
        self._parts.close()

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
            raise RuntimeStopped("the client is not open: use it as a context manager")
        return self._open

    def _opened(self, catalog: Catalog, parts: ExitStack) -> Services:
        work = WorkCount()
        clock = RealClock()
        parts.callback(clock.close)
        database = Database.open(self._settings.url, work=work, exclusive=False)
        parts.callback(database.close)
        return services_of(self._settings, catalog, database, parts, clock=clock, work=work, pubsub=PubSub())
