"""Spans of runs, of what they make, and of polls, from telemetry's events in their order.

An event tells how long a thing took when it is over; so a span that was open ends that long after its start, and one
whose start was told to nobody here, as that of a run of before a restart, starts that long before now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from actors.raw import Lock

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["MOST", "Spans"]

MOST = 10_000
"""Spans that are open at once; past it the oldest ends: what ended it was told elsewhere."""

Told = Mapping[str, Any]
Key = tuple[str, ...]


class Spans:
    """The spans that are open, by what they are of; none is once it is closed."""

    def __init__(self, tracer: Tracer, now: Callable[[], datetime]) -> None:
        self._tracer = tracer
        self._now = now
        self._open: dict[Key, tuple[Span, int]] = {}
        self._closed = False
        self._lock = Lock()

    def take(self, event: str, measured: Told, about: Told) -> None:
        """Begin and end spans as an event says."""
        with self._lock:
            if not self._closed:
                self._take(event, {**measured, **about})

    def close(self) -> None:
        """End what is open, as it is, and begin no more."""
        with self._lock:
            self._closed = True
            while self._open:
                self._drop(next(iter(self._open)))

    def _take(self, event: str, told: Told) -> None:
        match event.removeprefix("flowstone.").split("."):
            case ["run", "started"]:
                self._begin(_run(told), f"run {told['asset']}", told, None)
            case ["run", "interrupted"]:
                self._interrupt(told)
            case ["run", "finished"]:
                self._end(_run(told), f"run {told['asset']}", told, None)
            case ["materialization", "start"]:
                self._begin(_made(told), f"materialize {told['asset']}", told, _run(told))
            case ["materialization", "stop" | "exception"]:
                self._end(_made(told), f"materialize {told['asset']}", told, _run(told))
            case ["io", "stop" | "exception"]:
                self._end((), f"{told['operation']} {told['asset']}", told, _asked_by(told))
            case ["sensor", "evaluated"]:
                self._end((), f"{'push' if told['cause'] == 'push' else 'poll'} {told['sensor']}", told, None)

    def _begin(self, key: Key, name: str, told: Told, within: Key | None) -> None:
        if key in self._open:
            self._drop(key)
        self._open[key] = self._started(name, told, within, self._nanoseconds())
        if len(self._open) > MOST:
            self._drop(next(iter(self._open)))

    def _end(self, key: Key, name: str, told: Told, within: Key | None) -> None:
        from opentelemetry.trace import Status, StatusCode

        duration = max(0, int(told["duration"] * 1e9))
        known = self._open.pop(key, None)
        span, began = known or self._started(name, told, within, self._nanoseconds() - duration)
        span.set_attributes(_attributes(told))
        error = told.get("error")
        if error is not None or told.get("status") in ("failed", "error"):
            span.set_status(Status(StatusCode.ERROR, str(error or told.get("reason") or "")))
        span.end(began + duration)

    def _interrupt(self, told: Told) -> None:
        """What worked on a run is gone; the run is queued again, and goes on."""
        for key in [key for key in self._open if key[1] == told["run_id"]]:
            self._open[key][0].add_event("flowstone.run.interrupted", _attributes(told), self._nanoseconds())
            if key != _run(told):
                self._drop(key)

    def _drop(self, key: Key) -> None:
        """End a span now, without having heard of the end of what it is of."""
        span, began = self._open.pop(key)
        span.end(max(began, self._nanoseconds()))

    def _started(self, name: str, told: Told, within: Key | None, at: int) -> tuple[Span, int]:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        parent = self._open.get(within) if within else None
        context = Context() if parent is None else set_span_in_context(parent[0], Context())
        return self._tracer.start_span(name, context, attributes=_attributes(told), start_time=at), at

    def _nanoseconds(self) -> int:
        return int(self._now().timestamp() * 1e6) * 1000


def _run(told: Told) -> Key:
    return ("run", told["run_id"])


def _made(told: Told) -> Key:
    return ("materialization", told["run_id"], told["asset"])


def _asked_by(told: Told) -> Key:
    """The attempt that a value is stored or loaded by: a value that is loaded is of another asset, and often run."""
    return ("materialization", told.get("for_run_id", told["run_id"]), told.get("for_asset", told["asset"]))


def _attributes(told: Told) -> dict[str, str | bool | int | float]:
    """What an event tells, as attributes: numbers and truths stay, the rest is text."""
    named = {f"flowstone.{name}": value for name, value in told.items() if value is not None}
    return {name: value if type(value) in (bool, int, float) else str(value) for name, value in named.items()}
