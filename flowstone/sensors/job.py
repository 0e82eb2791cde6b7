"""What a sensor's actor has in hand, and how far it is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from actors import Future
from flowstone.sensors.evaluation import Start
from flowstone.sensors.rows import EvaluationRow

__all__ = ["Job", "Phase", "Purpose"]


class Phase(enum.StrEnum):
    """What the job in hand waits for: to be read, for an earlier call to end, for the sensor's code, to be written."""

    IDLE = "idle"
    READING = "reading"
    WAITING = "waiting"
    CALLING = "calling"
    WRITING = "writing"


class Purpose(enum.Enum):
    """Why a job is done: to look at the row, since the timer is due, or since somebody asked for a poll."""

    LOOK = enum.auto()
    TIMER = enum.auto()
    MANUAL = enum.auto()


@dataclass(slots=True)
class Job:
    """What is in hand; `manual` is the id of a poll that somebody asked for, `answer` what waits for it,
    `by` who asked.

    `lateness` is how many seconds after its time the timer's poll began, `duration` how many the sensor's code took.
    """

    purpose: Purpose
    manual: str | None = None
    answer: Future[EvaluationRow] | None = None
    by: str | None = None
    start: Start | None = None
    lateness: float = 0.0
    duration: float = 0.0
    again: bool = False
