"""The health of a runtime, computed from what progressed, never from a flag that says so."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from flowstone.errors import StoreUnavailable
from flowstone.runs.services import Services
from flowstone.state.connection import Connection

__all__ = ["Health", "HealthStatus", "Part", "health_of"]


class HealthStatus(enum.StrEnum):
    """The worst of all parts is the status of the whole."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a runtime that is not as it should be, with the reason."""

    kind: str
    name: str
    status: HealthStatus
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is {self.status}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Health:
    """The status of the whole, and each part that is not `ok`."""

    status: HealthStatus
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self.status, *map(str, self.parts)])


def health_of(services: Services | None, down: object | None) -> Health:
    """How a runtime is; `services` is None when it does not run, `down` is why its tree is gone."""
    if services is None or down is not None:
        reason = "it is not running" if down is None else f"its tree of actors gave up: {down!r}"
        return Health(HealthStatus.DOWN, (Part("runtime", "root", HealthStatus.DOWN, reason),))
    now = services.clock.now()
    try:
        parts = services.database.read(lambda connection: tuple(_broken(connection)))
    except StoreUnavailable as error:
        return Health(HealthStatus.DOWN, (Part("store", services.database.url, HealthStatus.DOWN, str(error)),))
    if services.database.fault is not None:
        fault = Part("store", services.database.url, HealthStatus.DOWN, str(services.database.fault))
        return Health(HealthStatus.DOWN, (fault, *parts))
    parts += tuple(_abandoned(services, now))
    return Health(HealthStatus.DEGRADED if parts else HealthStatus.OK, parts)


def _broken(connection: Connection) -> Iterator[Part]:
    for row in connection.execute("select * from sensor where status = 'broken' and not orphaned order by name"):
        yield Part("sensor", row.name, HealthStatus.DEGRADED, f"broken: {row.reason}")


def _abandoned(services: Services, now: datetime) -> Iterator[Part]:
    for kind, executor in (("sensor", services.polls), ("asset", services.executor)):
        for call in executor.abandoned():
            reason = f"a call that was given up still goes on, since {(now - call.since).total_seconds():.0f} s"
            yield Part(kind, call.name, HealthStatus.DEGRADED, reason)
