"""The walk over lineage: every node once, with the fewest steps that lead to it. Pure.

It goes level by level and asks for the neighbours of a whole level at once, so that it costs what it finds, whatever
keeps the edges. A node that was found is never looked at again: circles end by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from flowstone.lineage.node import Place

__all__ = ["walk"]

Neighbours = Callable[[Collection[Place]], Iterable[Place]]


def walk(start: Place, neighbours: Neighbours, depth: int | None = None) -> Iterator[tuple[Place, int]]:
    """The places that neighbours lead to from `start`, which is left out, with their depth, up to `depth` steps.

    They come by depth, then by name.

    >>> edges = {("c", ""): [("b", "")], ("b", ""): [("a", ""), ("c", "")]}
    >>> list(walk(("c", ""), lambda level: [end for place in level for end in edges.get(place, [])]))
    [(('b', ''), 1), (('a', ''), 2)]
    """
    seen, level, steps = {start}, {start}, 0
    while level and (depth is None or steps < depth):
        steps += 1
        level = set(neighbours(level)) - seen
        seen |= level
        for place in sorted(level):
            yield place, steps
