"""What schedules tell telemetry, after the commit of their ticks."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowstone.runs.services import Services
from flowstone.schedules.due import start_of
from flowstone.schedules.policies import TickStatus
from flowstone.schedules.rows import ScheduleRow, Tick

__all__ = ["Settled", "ticked"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The ticks that a change of a schedule wrote, in one try of its transaction, and the schedule as it was before."""

    schedule: ScheduleRow
    ticks: list[Tick] = field(default_factory=list)

    def tell(self, services: Services) -> None:
        """Tell of them, after the commit."""
        ticked(services, self.schedule, *self.ticks)


def ticked(services: Services, schedule: ScheduleRow, *ticks: Tick) -> None:
    """Due instants got their rows. Lateness is that of the first instant of a row, counted from its jitter on."""
    if not services.telemetry.active:
        return
    for tick in ticks:
        event = "flowstone.schedule.missed" if tick.status is TickStatus.MISSED else "flowstone.schedule.tick"
        late = (tick.at - start_of(schedule, tick.scheduled_for)).total_seconds()
        about = {
            "schedule": tick.schedule,
            "tick_id": tick.tick_id,
            "scheduled_for": tick.scheduled_for,
            "status": tick.status,
            "reason": tick.reason,
            "run_id": tick.run_id,
            "manual": tick.manual,
        }
        services.telemetry.emit(event, {"lateness": max(0.0, late), "count": tick.count}, about)
