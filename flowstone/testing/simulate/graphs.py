"""Random graphs to simulate: a pipeline drawn from a seed, whose assets fail, skip, ask, wait and share pools."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from flowstone.core.approval import OnTimeout, WaitForApproval
from flowstone.core.asset import Asset, Retry, RetryPolicy, Skip
from flowstone.pipeline import Pipeline
from flowstone.testing.simulate.feeds import Feed

__all__ = ["graph"]

LARGEST = 9
"""Assets of a graph at most."""

Behaviour = Callable[[Any, Mapping[str, Any]], Any]


def graph(seed: object) -> Pipeline:
    """A pipeline of a few assets that depend on each other, with schedules and a sensor over parts of it.

    The same seed gives the same pipeline.

    >>> [asset.name for asset in graph(1).assets] == [asset.name for asset in graph(1).assets]
    True
    """
    chance = random.Random(f"graph/{seed}")
    pipeline = Pipeline(f"graph-{seed}")
    names = [f"a{number}" for number in range(chance.randint(3, LARGEST))]
    for number, name in enumerate(names):
        pipeline.add(_asset(chance, name, names[:number]))
    for number in range(chance.randint(1, 3)):
        hours, policy = chance.randint(20, 60), chance.choice(("skip", "queue_one", "allow", "cancel_previous"))
        pipeline.schedule(f"s{number}", target=_selection(chance, names), every=f"{hours}h", overlap=policy)
    pipeline.sensor("files", Feed(a_day=0.3), every="20h", target=_selection(chance, names))
    return pipeline


def _asset(chance: random.Random, name: str, before: list[str]) -> Asset:
    needs = chance.sample(before, chance.randint(0, min(3, len(before))))
    behaviour = chance.choices([_value, _skipping, _asking_again, _asking_people], weights=[5, 1, 1, 2])[0]
    return Asset(
        behaviour,
        name=name,
        depends_on=needs,
        retry=RetryPolicy(max_attempts=chance.randint(1, 3)),
        timeout=chance.choice((None, "5m")),
        pool=chance.choice((None, None, "db")),
        concurrency=chance.choice((None, None, 1, 2)),
        priority=chance.randint(0, 2),
    )


def _selection(chance: random.Random, names: list[str]) -> str:
    name = chance.choice(names)
    return chance.choice((f"+{name}", f"+{name}", f"{name}+", f"+{name}+", name, "*"))


def _value(context: Any, needs: Mapping[str, Any]) -> Any:
    return (context.asset, context.run_id, sorted(needs))


def _skipping(context: Any, needs: Mapping[str, Any]) -> Any:
    return Skip("not for this one") if _number(context) % 3 == 0 else 1


def _asking_again(context: Any, needs: Mapping[str, Any]) -> Any:
    return Retry(after=60, reason="not yet") if context.attempt == 1 else 2


def _asking_people(context: Any, needs: Mapping[str, Any]) -> Any:
    if context.approval is not None:
        return context.approval.by
    chosen = _number(context)
    timeout = None if chosen % 5 == 0 else f"{1 + chosen % 40}h"
    return WaitForApproval("go on?", timeout=timeout, on_timeout=tuple(OnTimeout)[chosen % 4])


def _number(context: Any) -> int:
    """A number that is the same for each call of one run, in every process."""
    return sum(context.run_id.encode())
