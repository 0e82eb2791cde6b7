"""The shortest trace: a world that breaks a rule, run again for less time and with fewer faults while it still does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from flowstone.testing.simulate.faults import Faults
from flowstone.testing.simulate.result import Result

__all__ = ["shortest_of"]

MOST_RUNS = 100

Run = Callable[[float, Faults, frozenset[str]], Result]


class _Search:
    """The best that was found so far; `spent` counts the runs."""

    def __init__(self, run: Run, first: Result) -> None:
        self._run = run
        self._rules = {violation.rule for violation in first.violations}
        self.best = first
        self.spared: frozenset[str] = frozenset()
        self.spent = 0

    def tries(self, *, days: float | None = None, faults: Faults | None = None, spare: Sequence[str] = ()) -> bool:
        """Whether less of something breaks one of the same rules; it is the best one then."""
        if self.spent >= MOST_RUNS:
            return False
        self.spent += 1
        best = self.best
        spared = self.spared | frozenset(spare)
        found = self._run(best.days if days is None else days, best.faults if faults is None else faults, spared)
        if self._rules.isdisjoint(violation.rule for violation in found.violations):
            return False
        self.best, self.spared = found, spared
        return True


def shortest_of(run: Run, first: Result) -> Result:
    """The shortest world found that breaks a rule which `first` breaks; `run` takes days, faults and what is spared."""
    search = _Search(run, first)
    _shorten(search)
    for kind in Faults.kinds():
        if getattr(search.best.faults, kind):
            search.tries(faults=search.best.faults.without(kind))
    _shorten(search)
    _spare(search)
    _shorten(search)
    return search.best


def _shorten(search: _Search) -> None:
    """Halve what is between the time that is enough and the time that is not."""
    too_short = 0.0
    for _ in range(10):
        days = round((too_short + search.best.days) / 2, 3)
        if not too_short < days < search.best.days:
            return
        if not search.tries(days=days):
            too_short = days


def _spare(search: _Search) -> None:
    """Leave out faults, many together first, then one by one."""
    size = len(search.best.fired) // 2
    while size:
        at = 0
        while at < len(search.best.fired) and search.spent < MOST_RUNS:
            if not search.tries(spare=list(islice(search.best.fired, at, at + size))):
                at += size
        size //= 2
