"""The calls about sensors of a process that opened the store beside the runtime, or while none runs."""

from __future__ import annotations

from flowstone.audit.who import who
from flowstone.durations import seconds
from flowstone.runs.services import Services
from flowstone.sensors.beside import poll_beside
from flowstone.sensors.book import SensorBook
from flowstone.sensors.calls import Sensors
from flowstone.sensors.rows import EvaluationRow

__all__ = ["SensorsBeside"]


class SensorsBeside(Sensors):
    """The calls of a client: a poll is made by the caller, everything else needs no actor anyway."""

    def __init__(self, services: Services, book: SensorBook) -> None:
        super().__init__(services, book)
        self._here = services

    def poll(self, name: str, *, timeout: object = None, by: str | None = None) -> EvaluationRow:
        """Poll a sensor once, in this process, and wait for the evaluation that this makes.

        On a paused sensor it is `skipped`. The call ends with the sensor's own timeout; `timeout`, a duration in real
        time, ends the wait before that, and nothing is committed then.

        Raises:
            SensorNotFound: there is none of this name here.
            TimeoutExceeded: `timeout` passed.
            StoreUnavailable: the store failed.
            ValidationError: `by` is no text.
        """
        if by is not None:
            who(by)
        limit = None if timeout is None else seconds(timeout, "timeout")
        return poll_beside(self._here, self.definition(name), limit, by)
