"""A whole runtime as one child of a host's supervisor: its root, which opens the store before it starts the services.

When its children crash too often it ends, the store is closed, and the host's supervisor decides.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Protocol

from actors import Supervisor, SupervisorRef
from flowstone.assembly import Settings
from flowstone.running import Running, opened

__all__ = ["Host", "Hosted", "HostedRef"]


class Host(Protocol):
    """The runtime, as far as its root has to know it."""

    @property
    def settings(self) -> Settings:
        """What it was told."""

    def enter(self, running: Running) -> None:
        """It runs now."""

    def leave(self) -> float:
        """It does not run any more; the real seconds that its runs in progress have."""


class HostedRef(SupervisorRef):
    """A ref of a runtime's root under a host's supervisor."""

    @property
    def runtime(self) -> Any:
        """The runtime, with all its calls."""
        slot = self._slot
        assert slot is not None, "a hosted runtime is always somebody's child"
        return slot.spec.args[0]


class Hosted(Supervisor):
    """The root of a runtime under a host's supervisor."""

    ref_class = HostedRef

    # An init is no method that others call: its arguments are those of its own child spec.
    def init(self, host: Host) -> None:  # type: ignore[override]
        """Open the store and start the services."""
        self._host = host
        with ExitStack() as parts:
            made = opened(host.settings, self.system, parts)
            super().init(**made.root(host.settings).kwargs)
            self._running = Running(self.system, made, self.ref, parts.pop_all())
        host.enter(self._running)

    def terminate(self, reason: Any) -> None:
        """Let what runs finish, stop the services, close the store."""
        self._running.quiesce(self._host.leave())
        super().terminate(reason)
        self._running.finish()
