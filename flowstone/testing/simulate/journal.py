"""The log of a simulated world: everything that happened, in the one order in which it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flowstone.testing.simulate.time import WorldTime

__all__ = ["Journal"]

DAY = 86_400_000_000


class Journal:
    """Entries of instant, kind and text; rendered when somebody asks."""

    def __init__(self, time: WorldTime) -> None:
        self._time = time
        self._entries: list[tuple[int, str, str]] = []
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, text: str) -> None:
        """Write down what happens now."""
        self._entries.append((self._time.micros, kind, text))
        self.counts[kind] += 1

    def __len__(self) -> int:
        return len(self._entries)

    def lines(self) -> Iterator[str]:
        """The log, oldest first: day and time since the beginning, kind, text."""
        for micros, kind, text in self._entries:
            days, rest = divmod(micros, DAY)
            minutes, rest = divmod(rest, 60_000_000)
            yield f"{days:3d}d {minutes // 60:02d}:{minutes % 60:02d}:{rest / 1e6:09.6f} {kind:<9} {text}"
