"""Those who wait for runs, told after the commit."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from actors import Future
from flowstone.errors import FlowstoneError, RuntimeStopped

__all__ = ["RunLeft", "Waiters"]

REMEMBERED = 64
"""Failed runs whose live exceptions are kept for who asks after the end, at most."""


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
        self._closed: str | None = None
        self._lock = Lock()
        self._futures: dict[str, list[Future[RunLeft]]] = {}
        self._errors: dict[str, dict[str, FlowstoneError]] = {}

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

    def close(self, reason: str) -> None:
        """Let nobody wait any more: nothing goes on here."""
        self._closed = reason
        self.stir()

    def check_open(self) -> None:
        """Refuse to wait for what will not come; ask when a future was added, before it is waited for.

        Raises:
            RuntimeStopped: nothing goes on here.
        """
        if self._closed is not None:
            raise RuntimeStopped(self._closed)

    def note(self, run_id: str, asset: str, error: FlowstoneError) -> None:
        """Keep the live exception of an asset, which is written next: the row may be read before the run is left."""
        with self._lock:
            self._errors.setdefault(run_id, {})[asset] = error
            while len(self._errors) > REMEMBERED:
                del self._errors[next(iter(self._errors))]

    def errors(self, run_id: str) -> Mapping[str, FlowstoneError]:
        """The live exceptions of a run's assets, as far as they are known here."""
        with self._lock:
            return dict(self._errors.get(run_id, ()))

    def stir(self) -> None:
        """Let all look at their runs again: another process may have ended some."""
        with self._lock:
            waiting = list(self._futures)
        for run_id in waiting:
            self.tell(RunLeft(run_id))

    def tell(self, left: RunLeft) -> None:
        """Tell all who wait for this run; when nobody does, its exceptions are kept without what their frames hold."""
        with self._lock:
            waiting = self._futures.pop(left.run_id, [])
        for future in waiting:
            future.set(left)
        if left.errors:
            self._told(left.run_id, bool(waiting))
        listener = self.listener
        if listener is not None:
            listener(left.run_id)

    def _told(self, run_id: str, heard: bool) -> None:
        with self._lock:
            noted = self._errors.pop(run_id, None) if heard else self._errors.get(run_id)
        if noted and not heard:
            _empty(noted)


def _empty(errors: Mapping[str, FlowstoneError]) -> None:
    """Let go of the values that the frames of exceptions hold, which may be large."""
    for error in errors.values():
        found: BaseException | None = error
        while found is not None:
            traceback.clear_frames(found.__traceback__)
            found = found.__cause__
