"""A runtime or a client as exporters watch it: the snapshot of its numbers, its events, its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from actors import RealClock
from flowstone.errors import FlowstoneError, ValidationError, shown
from flowstone.groups import Groups
from flowstone.metrics import HELP, Metric, Metrics
from flowstone.runtime import Runtime
from flowstone.telemetry import Handle, Handler

__all__ = ["GAUGES", "UP", "Watched"]

UP = "flowstone_up"
GAUGES: Mapping[str, str] = {UP: "Whether the numbers of the store could be read.", **HELP}
"""The numbers of a snapshot, and what each tells."""


class Watched:
    """What is watched; a client has a snapshot, and no events.

    Raises:
        ValidationError: this is neither a runtime nor a client.
    """

    def __init__(self, runtime: Groups) -> None:
        if not isinstance(runtime, Groups):
            raise ValidationError(f"expected runtime to be a runtime or a client, got: {shown(runtime)}")
        self._groups = runtime
        self._telemetry = runtime.telemetry if isinstance(runtime, Runtime) else None
        self._handle: Handle | None = None

    @property
    def now(self) -> Callable[[], datetime]:
        """What tells the time of the events, before the start too."""
        settings = self._groups._settings
        host = settings.clock if settings.system is None else settings.system.clock
        return (host or RealClock()).now

    def snapshot(self) -> Metrics:
        """The numbers as they are now; `flowstone_up` alone, 0, while they can't be read."""
        try:
            return Metrics([Metric(UP, 1.0), *self._groups.metrics()])
        except FlowstoneError:
            return Metrics([Metric(UP, 0.0)])

    def listen(self, handler: Handler) -> None:
        """Hand each event to a handler, from now on."""
        if self._telemetry is not None:
            self._handle = self._telemetry.attach("flowstone.", handler)

    def leave(self) -> None:
        """Hand on no more events. Harmless when repeated."""
        if self._telemetry is not None and self._handle is not None:
            self._telemetry.detach(self._handle)
