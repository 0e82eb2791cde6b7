"""Who does the work that a command asks for: the service that holds the store, else a runtime of the command's own.

What holds the store may be another command, which ends with what it was asked for itself; and services end. So a
command that waits takes the store over when nobody has held it for `PATIENCE`, which is longer than a service takes to
be started again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flowstone.cli.loading import load_pipeline
from flowstone.cli.settings import Settings
from flowstone.client import Client
from flowstone.errors import StoreLocked, StoreUnavailable
from flowstone.pipeline import Pipeline
from flowstone.runtime import Runtime

__all__ = ["worker_of"]

PATIENCE = 5.0
"""Seconds for which nobody has to hold the store before a command that waits takes it."""

LOOK = 1.0
"""Seconds between two looks at who holds it."""


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
            with _stand_in(settings, pipeline, client):
                yield client
            return
        with own:
            yield own


@contextmanager
def _stand_in(settings: Settings, pipeline: Pipeline, client: Client) -> Iterator[None]:
    """Have a runtime of this process take the place of the one that holds the store, should that end."""
    over = threading.Event()

    def watch() -> None:
        while _is_missed(client, over):
            # A store that fails just now is asked again.
            with suppress(StoreUnavailable):
                own = _started(settings, pipeline)
                if own is not None:
                    with own:
                        over.wait()

    watcher = threading.Thread(target=watch, name="flowstone stand-in", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _is_missed(client: Client, over: threading.Event) -> bool:
    """Wait until nobody has held the store for `PATIENCE`; False when the command is over before."""
    since = time.monotonic()
    while not over.wait(LOOK):
        try:
            if client.served:
                since = time.monotonic()
        except StoreUnavailable:
            since = time.monotonic()
        if time.monotonic() - since >= PATIENCE:
            return True
    return False


def _started(settings: Settings, pipeline: Pipeline) -> Runtime | None:
    """A runtime of this process; None when a service has just taken the store."""
    try:
        return Runtime(pipeline, scheduler=False, sensors=False, config=settings.config).start()
    except StoreLocked:
        return None
