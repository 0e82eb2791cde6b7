"""A store in memory, a small graph, and requests, for the rules of runs without actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity, RunRequest, Source, SourceKind
from flowstone.core.run_key import hand_key
from flowstone.runs import store
from flowstone.runs.requests import resolve
from flowstone.runs.store import Requested
from flowstone.state.database import Database

NOW = datetime(2025, 1, 15, 2, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(params=["memory", "postgresql"])
def database(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> Iterator[Database]:
    opened = Database.open(make_store_url(request.param))
    yield opened
    opened.close()


@pytest.fixture
def catalog() -> Catalog:
    """raw -> clean -> report, and aside, which depends on nothing."""
    return Catalog(
        [
            Asset(lambda context: 1, name="raw"),
            Asset(lambda context, raw: raw, name="clean"),
            Asset(lambda context, clean: clean, name="report"),
            Asset(lambda context: 2, name="aside"),
        ]
    )


@pytest.fixture
def ask(database: Database, catalog: Catalog) -> Callable[..., Requested]:
    """Commit a request for a run."""

    def ask(asset: str = "raw", partition: object = None, **options: object) -> Requested:
        key = options.pop("run_key", None)
        payload, force = options.pop("payload", None), bool(options.pop("force", False))
        priority, at = options.pop("priority", 0), options.pop("now", NOW)
        resolved = resolve(
            catalog,
            RunRequest(asset, partition, run_key=key, priority=priority),
            default_key=hand_key(),
            source=options.pop("source", Source(SourceKind.MANUAL)),
            payload=payload,
            force=force,
        )
        return database.transact(lambda c: store.request(c, resolved, identity=Identity(), now=at))

    return ask
