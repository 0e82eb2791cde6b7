"""The graph of assets: which depends on which, in one deterministic order."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from flowstone.errors import AssetNotFound, CycleError

__all__ = ["Graph"]


class Graph:
    """Assets and what each depends on, in the order of definition.

    A dependency that is no asset of the graph is left out: whoever checks the whole names it.

    >>> graph = Graph({"raw": (), "report": ("raw",), "mail": ("report",)})
    >>> graph.order(), graph.upstream("report"), graph.downstream("raw")
    (('raw', 'report', 'mail'), ('raw',), ('report', 'mail'))
    """

    __slots__ = ("_dependencies", "_dependents", "_order", "_places")

    def __init__(self, dependencies: Mapping[str, Iterable[str]]) -> None:
        self._dependencies = {
            asset: tuple(dict.fromkeys(name for name in names if name in dependencies))
            for asset, names in dependencies.items()
        }
        self._dependents: dict[str, list[str]] = {asset: [] for asset in self._dependencies}
        for asset, names in self._dependencies.items():
            for name in names:
                self._dependents[name].append(asset)
        self._order = self._sorted(frozenset())
        self._places = {asset: place for place, asset in enumerate(self._order)}

    def __contains__(self, asset: object) -> bool:
        return asset in self._dependencies

    def order(self) -> tuple[str, ...]:
        """All assets, each after what it depends on, and else as they were defined.

        Raises:
            CycleError: assets depend on each other in a circle.
        """
        for cycle in self.cycles():
            raise CycleError.along(cycle)
        return self._order

    def dependencies(self, asset: str) -> tuple[str, ...]:
        """What an asset itself depends on, in the order in which it names them.

        Raises:
            AssetNotFound: there is no such asset.
        """
        return self._dependencies[self._known(asset)]

    def dependents(self, asset: str) -> tuple[str, ...]:
        """What itself depends on an asset, in the order of definition.

        Raises:
            AssetNotFound: there is no such asset.
        """
        return tuple(self._dependents[self._known(asset)])

    def upstream(self, asset: str) -> tuple[str, ...]:
        """All that an asset depends on, itself excluded, in the order of the graph.

        Raises:
            AssetNotFound: there is no such asset.
            CycleError: assets depend on each other in a circle.
        """
        return self._reached(asset, self._dependencies)

    def downstream(self, asset: str) -> tuple[str, ...]:
        """All that depends on an asset, itself excluded, in the order of the graph.

        Raises:
            AssetNotFound: there is no such asset.
            CycleError: assets depend on each other in a circle.
        """
        return self._reached(asset, self._dependents)

    def sort(self, assets: Iterable[str]) -> tuple[str, ...]:
        """These assets, each once, in the order of the graph.

        Raises:
            AssetNotFound: one of them is not in the graph.
            CycleError: assets depend on each other in a circle.
        """
        self.order()
        return tuple(sorted({self._known(asset) for asset in assets}, key=self._places.__getitem__))

    def cycles(self) -> Iterator[tuple[str, ...]]:
        """Circles with no asset in common, at least one while there is any; each repeats its first asset at the end."""
        sorted_out = set(self._order)
        while len(sorted_out) < len(self._dependencies):
            cycle = self._cycle(sorted_out)
            yield cycle
            sorted_out.update(cycle)
            sorted_out.update(self._sorted(frozenset(sorted_out)))

    def _known(self, asset: str) -> str:
        if asset not in self._dependencies:
            raise AssetNotFound.named(asset, self._dependencies)
        return asset

    def _reached(self, asset: str, steps: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
        found: set[str] = set()
        waiting = deque(steps[self._known(asset)])
        while waiting:
            name = waiting.popleft()
            if name not in found:
                found.add(name)
                waiting.extend(steps[name])
        return self.sort(found - {asset})

    def _sorted(self, done: frozenset[str]) -> tuple[str, ...]:
        # Kahn's algorithm with a heap by place of definition: of those that are ready the first defined is next.
        places = {asset: place for place, asset in enumerate(self._dependencies) if asset not in done}
        missing = {a: sum(n not in done for n in self._dependencies[a]) for a in places}
        ready = [(place, asset) for asset, place in places.items() if not missing[asset]]
        ordered = []
        while ready:
            _, asset = heapq.heappop(ready)
            ordered.append(asset)
            for dependent in self._dependents[asset]:
                if dependent in missing:
                    missing[dependent] -= 1
                    if not missing[dependent]:
                        heapq.heappush(ready, (places[dependent], dependent))
        return tuple(ordered)

    def _cycle(self, sorted_out: set[str]) -> tuple[str, ...]:
        # What is not sorted depends on something that is not sorted either, so that this walk comes back to itself.
        asset = next(name for name in self._dependencies if name not in sorted_out)
        walked: dict[str, int] = {}
        while asset not in walked:
            walked[asset] = len(walked)
            asset = next(name for name in self._dependencies[asset] if name not in sorted_out)
        return (*list(walked)[walked[asset]:], asset)
