"""Those who wait for runs, told after the commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from actors import Future
from flowstone.errors import FlowstoneError

__all__ = ["RunLeft", "Waiters"]


@dataclass(frozen=True, slots=True)
class RunLeft:
    """A run has left its materializer's hands: it is finished, or was put off.

    `errors` are the live exceptions of its failed assets, where this process saw them.
    """

    run_id: str
    errors: Mapping[str, FlowstoneError] = field(default_factory=dict)


class Waiters:
    """Futures by run id; from any thread. The `listener`, if any, is called with the id of each run that is left."""

    def __init__(self) -> None:
        self.listener: Callable[[str], object] | None = None
        self._lock = Lock()
        self._futures: dict[str, list[Future[RunLeft]]] = {}

    def add(self, run_id: str, future: Future[RunLeft]) -> None:
        """Have `future` set when the run is left. Look at the run's row afterwards: it may have finished before."""
        with self._lock:
            self._futures.setdefault(run_id, []).append(future)

    def remove(self, run_id: str, future: Future[RunLeft]) -> None:
        """Wait no longer."""
        with self._lock:
            waiting = self._futures.get(run_id, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._futures.pop(run_id, None)

    def stir(self) -> None:
        """Let all look at their runs again: another process may have ended some."""
        with self._lock:
            waiting = list(self._futures)
        for run_id in waiting:
            self.tell(RunLeft(run_id))

    def tell(self, left: RunLeft) -> None:
        """Tell all who wait for this run."""
        with self._lock:
            waiting = self._futures.pop(left.run_id, [])
        for future in waiting:
            future.set(left)
        listener = self.listener
        if listener is not None:
            listener(left.run_id)
