"""What came of a simulation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowstone.testing.simulate.faults import Faults
from flowstone.testing.simulate.journal import Journal
from flowstone.testing.simulate.violations import Violation

__all__ = ["Result"]

SHOWN = 60


@dataclass(frozen=True, slots=True)
class Result:
    """A world at rest: `violations` of what must hold, counts of what happened, the log, and the faults that fired.

    Attributes:
        counts: entries of the log by kind, and rows of the store by table.
        fired: the faults that happened, in order, as `kind#number`.
        shortest: of a world that broke a rule: one that breaks it in less time and with fewer faults.
    """

    seed: object
    days: float
    faults: Faults
    violations: tuple[Violation, ...]
    counts: Mapping[str, int]
    fired: tuple[str, ...]
    journal: Journal
    shortest: Result | None = None

    @property
    def log(self) -> str:
        """Everything that happened, a line each; of the same seed the same, byte for byte."""
        return "".join(f"{line}\n" for line in self.journal.lines())

    @property
    def digest(self) -> str:
        """A hash of the log."""
        return hashlib.sha256(self.log.encode()).hexdigest()

    def check(self) -> None:
        """Check that nothing is violated.

        Raises:
            AssertionError: something is; with the seed, and the shortest trace that was found.
        """
        if self.violations:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        if not self.violations:
            return f"seed {self.seed}: {self.days:g} days, {len(self.fired)} faults, nothing violated"
        least = self.shortest or self
        return "\n".join(
            [
                f"seed {self.seed}: {self.days:g} days, {len(self.fired)} faults, {len(self.violations)} violations",
                *(f"  {violation}" for violation in self.violations[:SHOWN]),
                f"the shortest trace found, {least.days:g} days with the faults {_listed(least.fired)}:",
                *(f"  {violation}" for violation in least.violations[:SHOWN]),
                *(f"  {line}" for line in least.tail()),
            ]
        )

    def tail(self, lines: int = SHOWN) -> Sequence[str]:
        """The last lines of the log before everything calmed down."""
        found: list[str] = []
        for line in self.journal.lines():
            if " calm " in line:
                break
            found.append(line)
        return found[-lines:]


def _listed(fired: Sequence[str]) -> str:
    shown = ", ".join(fired[:SHOWN]) + (", …" if len(fired) > SHOWN else "")
    return shown or "none"
