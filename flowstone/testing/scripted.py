"""A sensor that answers what a test tells it to."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from flowstone.sensors.sensor import NoTrigger, PollError, Sensor, Trigger

__all__ = ["ScriptedSensor"]


class ScriptedSensor(Sensor):
    """Answers each poll with what `set_next` queued, in order, and with NoTrigger when nothing is queued.

    An exception is raised; a `threading.Event` makes the poll hang until it is set. `polls` counts the polls.
    """

    def __init__(self, state: Any = None) -> None:
        self.state = state
        self.polls = 0
        self._outcomes: deque[Any] = deque()
        self._lock = threading.Lock()

    def set_next(self, *outcomes: Trigger | NoTrigger | PollError | BaseException | threading.Event) -> None:
        """Queue answers."""
        self._outcomes.extend(outcomes)

    def init(self) -> Any:
        """The state given at construction."""
        return self.state

    def poll(self, state: Any) -> Any:
        """The next queued answer."""
        with self._lock:
            self.polls += 1
            outcome = self._outcomes.popleft() if self._outcomes else NoTrigger()
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, threading.Event):
            outcome.wait()
            return NoTrigger()
        return outcome
