"""What goes wrong in a simulated world, how often, and the dice that decide when."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Self

from flowstone.core.keywords import checked_keywords
from flowstone.errors import ValidationError, shown

__all__ = ["Dice", "Faults"]


@checked_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often what goes wrong. Shares are from 0 to 1; `jumps`, `deaths`, `meddling` and `deciding` how
    many a day, on average.

    - `raising`, `hanging`, `slow`: shares of the calls of user code
    - `crashes`: share of the messages at which their actor crashes
    - `refused`: share of the store's transactions and queries that fail without effect
    - `lost`: share of the store's commits whose answer is lost: the caller hears of a failure, the commit stands
    - `late`: share of the writes under a lease, on the way when a process dies, that arrive after the next one started
    - `jumps`: of the wall clock, forth or back
    - `deaths`: of the process, which is started again on the same store some time later
    - `meddling`: of people, who poll by hand, pause in the middle of a poll or a tick, and resume later
    - `deciding`: of people, who approve, reject, change or pass on what waits for them, cancel runs, and ask again

    Raises:
        ValidationError: a share that is none, or a number below 0.

    >>> Faults.none().raising, Faults(deaths=1).without("deaths").deaths
    (0.0, 0.0)
    """

    raising: float = 0.03
    hanging: float = 0.01
    slow: float = 0.05
    crashes: float = 0.003
    refused: float = 0.01
    lost: float = 0.01
    late: float = 0.5
    jumps: float = 0.1
    deaths: float = 0.3
    meddling: float = 0.3
    deciding: float = 0.5

    def __post_init__(self) -> None:
        for name in self.kinds():
            given: object = getattr(self, name)
            most = float("inf") if name in _DAILY else 1.0
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
                expected = "a number a day from 0 up" if name in _DAILY else "a share from 0 to 1"
                raise ValidationError(f"expected {name} to be {expected}, got: {shown(given)}", option=name)

    @classmethod
    def none(cls) -> Self:
        """A world in which nothing goes wrong."""
        return cls(**dict.fromkeys(cls.kinds(), 0.0))

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """The names of all kinds of faults."""
        return tuple(field.name for field in fields(cls))

    def without(self, kind: str) -> Self:
        """The same without one kind."""
        return replace(self, **{kind: 0.0})


_DAILY = ("jumps", "deaths", "meddling", "deciding")


class Dice:
    """Every decision of a simulated world, drawn from its seed.

    Each kind of fault has dice of its own, so that leaving one out leaves the others as they were. A fault is known by
    its kind and number; those in `spared` don't happen. `order` are the dice for everything that is no fault.
    """

    def __init__(self, seed: object, faults: Faults, spared: frozenset[str] = frozenset()) -> None:
        self._seed = seed
        self._faults = faults
        self._spared = spared
        self._dice: dict[str, random.Random] = {}
        self._drawn: Counter[str] = Counter()
        self._quiet = False
        self._gaps = {kind: self._gap(kind) for kind in Faults.kinds()}
        self.fired: list[str] = []
        """The faults that happened, in order."""
        self.order = self.of("order")

    def of(self, what: str) -> random.Random:
        """The dice for one purpose."""
        if what not in self._dice:
            # A text seeds by its sha512, which no process hashes otherwise.
            self._dice[what] = random.Random(f"{self._seed}/{what}")
        return self._dice[what]

    def happens(self, kind: str) -> bool:
        """Whether a fault of this kind happens now, by its share."""
        # A number drawn for each message would cost more than most messages do: draw how many go well instead.
        self._gaps[kind] -= 1
        if self._gaps[kind] > 0:
            return False
        self._gaps[kind] = self._gap(kind)
        return self.fires(kind)

    def fires(self, kind: str) -> bool:
        """Whether a fault that was drawn really happens: not when it is spared, nor any more after `calm`."""
        self._drawn[kind] += 1
        name = f"{kind}#{self._drawn[kind]}"
        if self._quiet or name in self._spared:
            return False
        self.fired.append(name)
        return True

    def moments(self, kind: str, days: float) -> list[float]:
        """The instants, in seconds, at which a daily fault happens in so many days."""
        rate: float = getattr(self._faults, kind)
        found: list[float] = []
        at = 0.0
        while rate > 0 and (at := at + self.of(kind).expovariate(rate)) < days:
            found.append(at * 86400)
        return found

    def calm(self) -> None:
        """Let nothing go wrong from now on."""
        self._quiet = True

    def pick(self, many: int) -> int:
        """Which one of so many comes next."""
        return int(self.order.random() * many) if many > 1 else 0

    def _gap(self, kind: str) -> float:
        """After how many opportunities the next fault of a kind happens."""
        share: float = getattr(self._faults, kind)
        if not 0 < share < 1:
            return 1.0 if share >= 1 else math.inf
        return float(math.ceil(math.log(1.0 - self.of(kind).random()) / math.log(1.0 - share)))
