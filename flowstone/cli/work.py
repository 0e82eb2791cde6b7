"""Who does the work that a command asks for: the service that holds the store, else a runtime of the command's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flowstone.cli.loading import load_pipeline
from flowstone.cli.settings import Settings
from flowstone.client import Client
from flowstone.errors import StoreLocked
from flowstone.pipeline import Pipeline
from flowstone.runtime import Runtime

__all__ = ["worker_of"]


@contextmanager
def worker_of(settings: Settings) -> Iterator[Client | Runtime]:
    """A client when a service holds the store, else a runtime without schedules and sensors, for as long as it is used.

    Raises:
        ConfigError: no pipeline is named, or it can't be loaded.
        ValidationError: the definitions do not fit together.
        StoreUnavailable: the store can't be used.
    """
    pipeline = load_pipeline(settings)
    with Client(pipeline, config=settings.config) as client:
        own = None if client.served else _started(settings, pipeline)
        if own is None:
            yield client
            return
        with own:
            yield own


def _started(settings: Settings, pipeline: Pipeline) -> Runtime | None:
    """A runtime of this process; None when a service has just taken the store."""
    try:
        return Runtime(pipeline, scheduler=False, sensors=False, config=settings.config).start()
    except StoreLocked:
        return None
