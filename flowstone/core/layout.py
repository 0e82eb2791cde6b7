"""Where the assets of a graph stand in a drawing of it: in layers, with few crossings and short lines. Pure.

Sugiyama's method: each asset stands right of all that it depends on; a line over several layers bends at a point in
each; points of a layer are ordered by where their neighbours are, and then moved towards them as far as room allows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Layout", "Spot", "lay_out"]

SWEEPS = 8
"""How often the layers are ordered, to and fro."""

SETTLING = 6
"""How often points are moved towards their neighbours, to and fro."""

BEND = 0.4
"""The room that a bend of a line takes, where an asset takes 1."""

Point = tuple[str, str, int]
"""An asset (twice, with 0), or the bend of a line from one asset to another in a layer."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A layer, counted from the left, and a height, in assets, counted from the top."""

    layer: int
    row: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where assets stand, and through which spots each line leads, both ends included."""

    assets: Mapping[str, Spot]
    lines: Mapping[tuple[str, str], tuple[Spot, ...]]


def lay_out(dependencies: Mapping[str, Iterable[str]]) -> Layout:
    """The layout of assets, given in the order of the graph with what each depends on.

    >>> found = lay_out({"raw": (), "clean": ("raw",), "report": ("clean", "raw")})
    >>> [found.assets[name].layer for name in ("raw", "clean", "report")], len(found.lines["raw", "report"])
    ([0, 1, 2], 3)
    """
    needs = {asset: tuple(name for name in names if name in dependencies) for asset, names in dependencies.items()}
    level = _levels(needs)
    routes = {(name, asset): _route(name, asset, level) for asset, names in needs.items() for name in names}
    layers = _layers(needs, level, routes)
    above: dict[Point, list[Point]] = {point: [] for layer in layers for point in layer}
    below: dict[Point, list[Point]] = {point: [] for layer in layers for point in layer}
    for route in routes.values():
        for one, other in zip(route, route[1:], strict=False):
            above[other].append(one)
            below[one].append(other)
    rows = _settled(_ordered(layers, above, below), above, below)
    top = min(rows.values(), default=0.0)
    spots = {point: Spot(place, rows[point] - top) for place, layer in enumerate(layers) for point in layer}
    return Layout(
        {asset: spots[_own(asset)] for asset in needs},
        {ends: tuple(spots[point] for point in route) for ends, route in routes.items()},
    )


def _own(asset: str) -> Point:
    return asset, asset, 0


def _levels(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each asset: behind what it depends on; of one without, just before its first reader."""
    level: dict[str, int] = {}
    for asset, names in needs.items():
        level[asset] = max((level[name] + 1 for name in names), default=0)
    first_reader: dict[str, int] = {}
    for asset, names in needs.items():
        for name in names:
            first_reader[name] = min(level[asset], first_reader.get(name, level[asset]))
    for asset, names in needs.items():
        if not names and asset in first_reader:
            level[asset] = first_reader[asset] - 1
    return level


def _route(name: str, asset: str, level: Mapping[str, int]) -> list[Point]:
    bends = [(name, asset, between) for between in range(level[name] + 1, level[asset])]
    return [_own(name), *bends, _own(asset)]


def _layers(
    needs: Mapping[str, Sequence[str]], level: Mapping[str, int], routes: Mapping[tuple[str, str], Sequence[Point]]
) -> list[list[Point]]:
    layers: list[list[Point]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for asset in needs:
        layers[level[asset]].append(_own(asset))
    for (name, _), route in routes.items():
        for step, point in enumerate(route[1:-1], start=1):
            layers[level[name] + step].append(point)
    return layers


def _ordered(
    layers: list[list[Point]], above: Mapping[Point, Sequence[Point]], below: Mapping[Point, Sequence[Point]]
) -> list[list[Point]]:
    """The layers, each ordered by the mean place of its neighbours; of all sweeps the one that crosses least."""
    current, best, fewest = layers, layers, _crossings(layers, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        current = _swept(current, above if sweep % 2 == 0 else below, to_the_right=sweep % 2 == 0)
        crossings = _crossings(current, below)
        if crossings < fewest:
            best, fewest = current, crossings
    return best


def _swept(
    layers: list[list[Point]], near: Mapping[Point, Sequence[Point]], *, to_the_right: bool
) -> list[list[Point]]:
    """The layers, one after the other ordered by the layer before."""
    ordered = [list(layer) for layer in layers]
    places = range(1, len(ordered)) if to_the_right else range(len(ordered) - 2, -1, -1)
    for place in places:
        fixed = {point: at for at, point in enumerate(ordered[place - 1 if to_the_right else place + 1])}
        here = {point: at for at, point in enumerate(ordered[place])}
        means = {point: _mean([fixed[other] for other in near[point]], here[point]) for point in here}
        ordered[place].sort(key=means.__getitem__)
    return ordered


def _crossings(layers: Sequence[Sequence[Point]], below: Mapping[Point, Sequence[Point]]) -> int:
    """How many pairs of lines between neighbouring layers cross."""
    crossings = 0
    for layer, following in zip(layers, layers[1:], strict=False):
        at = {point: place for place, point in enumerate(following)}
        seen: list[int] = []
        for point in layer:
            ends = [at[other] for other in below[point]]
            crossings += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return crossings


def _settled(
    layers: Sequence[Sequence[Point]], above: Mapping[Point, Sequence[Point]], below: Mapping[Point, Sequence[Point]]
) -> dict[Point, float]:
    """The row of each point: as near to its neighbours as the order and the room of the others let it."""
    rows = {point: float(place) for layer in layers for place, point in enumerate(layer)}
    for turn in range(SETTLING):
        near = above if turn % 2 == 0 else below
        for layer in layers if turn % 2 == 0 else reversed(layers):
            wanted = [_mean([rows[other] for other in near[point]], rows[point]) for point in layer]
            for point, row in zip(layer, _spread(wanted, [_room(point) for point in layer]), strict=True):
                rows[point] = row
    return rows


def _room(point: Point) -> float:
    return 1.0 if point == _own(point[0]) else BEND


def _spread(wanted: Sequence[float], rooms: Sequence[float]) -> list[float]:
    """The rows nearest to the wanted ones (least squares) that keep the order and leave each its room."""
    offsets = [0.0]
    for one, other in zip(rooms, rooms[1:], strict=False):
        offsets.append(offsets[-1] + (one + other) / 2)
    blocks: list[tuple[float, int]] = []  # the sum and the number of those that touch each other
    for row, offset in zip(wanted, offsets, strict=False):
        total, count = row - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            before, number = blocks.pop()
            total, count = total + before, count + number
        blocks.append((total, count))
    fitted = [total / count for total, count in blocks for _ in range(count)]
    return [row + offset for row, offset in zip(fitted, offsets, strict=False)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else float(otherwise)
