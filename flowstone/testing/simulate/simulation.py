"""Simulation: a whole runtime in virtual time and one order, with faults drawn from a seed, checked when it rests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from flowstone.errors import ValidationError, shown
from flowstone.pipeline import Pipeline, check_together
from flowstone.state.url import Place
from flowstone.testing.simulate.check_approvals import check_approvals
from flowstone.testing.simulate.check_runs import check_runs
from flowstone.testing.simulate.check_sensors import check_feeds, check_sensors
from flowstone.testing.simulate.check_ticks import check_ticks
from flowstone.testing.simulate.disk import disk_of, place_to_simulate
from flowstone.testing.simulate.faults import Faults
from flowstone.testing.simulate.result import Result
from flowstone.testing.simulate.shortest import shortest_of
from flowstone.testing.simulate.time import WorldTime
from flowstone.testing.simulate.violations import Violation
from flowstone.testing.simulate.world import Stuck, World

__all__ = ["START", "simulate"]

START = datetime(2025, 1, 1, tzinfo=UTC)
TABLES = ("run", "materialization", "tick", "evaluation", "outbox", "audit")
SILENT = logging.CRITICAL + 1


def simulate(
    *pipelines: Pipeline,
    days: float = 365,
    seed: int | str = 1,
    faults: Faults | None = None,
    start: datetime = START,
    shorten: bool = True,
    store: str = "memory://",
) -> Result:
    """What comes of running these pipelines for so many days of virtual time, from `start` on, with faults.

    It is the whole runtime, its actors, supervisors and store, in one order that the seed decides: the same seed gives
    the same log. `faults` are `Faults()` unless given. A world that violates what must hold is run again and again,
    for less time and with fewer faults, for its shortest trace, unless `shorten` is False. `store` is a PostgreSQL URL
    for a world whose tables lie there, in a schema of its own that is dropped at the end. While it runs, the logs of
    the runtime are silent. User code takes no virtual time but what is drawn for it; it must not wait for anything.

    Raises:
        ValidationError: the definitions do not fit together, or an option is wrong.
        StoreUnavailable: the PostgreSQL server can't be reached, or refuses a schema.

    >>> simulate(Pipeline("empty"), days=1).violations
    ()
    """
    _check(pipelines, days, start)
    check_together(pipelines)
    run = partial(_simulated, pipelines, place_to_simulate(store), seed=seed, start=start)
    with _silence():
        result = run(days, Faults() if faults is None else faults, frozenset())
        if result.violations and shorten:
            result = replace(result, shortest=shortest_of(run, result))
    return result


def _check(pipelines: tuple[object, ...], days: object, start: object) -> None:
    for pipeline in pipelines:
        if not isinstance(pipeline, Pipeline):
            raise ValidationError(f"expected pipelines, got: {shown(pipeline)}")
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 36_500:
        raise ValidationError(f"expected days to be a number above 0 and below 36,500, got: {shown(days)}")
    if not isinstance(start, datetime) or start.tzinfo is None:
        raise ValidationError(f"expected start to be an aware datetime, got: {shown(start)}")


def _simulated(
    pipelines: tuple[Pipeline, ...],
    place: Place,
    days: float,
    faults: Faults,
    spared: frozenset[str],
    *,
    seed: int | str,
    start: datetime,
) -> Result:
    time = WorldTime(start)
    with disk_of(place, time) as disk:
        world = World(pipelines, disk, time, days=days, seed=seed, faults=faults, spared=spared)
        try:
            world.run()
            violations = tuple(_violations(world))
        except Stuck as error:
            violations = (Violation("the world comes to rest", "the runtime", str(error)),)
        around = world.around
        counts = {f"{kind} entries": number for kind, number in sorted(around.journal.counts.items())}
        for table in TABLES:
            counts[f"{table} rows"] = disk.execute(f"select count(*) as n from {table}")[0].n
    return Result(seed, days, faults, violations, counts, tuple(around.dice.fired), around.journal)


def _violations(world: World) -> Iterator[Violation]:
    disk, now = world.around.disk, world.around.time.now()
    specs = [spec for pipeline in world.around.pipelines for spec in pipeline.sensors]
    for crash in dict.fromkeys(world.around.crashes):
        yield Violation("no actor crashes but on purpose", *crash.split(": ", 1))
    yield from check_ticks(disk, now)
    boot = world.life.running.services.boot if world.life is not None and world.life.running is not None else ""
    yield from check_runs(disk, world.around.book, boot=boot, now=now)
    yield from check_approvals(disk, now=now)
    yield from check_sensors(disk, specs, now=now, calm_from=world.calm_from, longest_wait=world.calm / 2)
    yield from check_feeds(disk, specs, world.feeds, world.people.acknowledged)


@contextmanager
def _silence() -> Iterator[None]:
    """Let the runtime log nothing: each crash on purpose would be told of at length."""
    loggers = [logging.getLogger(name) for name in ("actors", "flowstone")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(SILENT)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
