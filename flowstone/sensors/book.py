"""What a runtime's sensors keep outside of their actors: the definitions, and a gate for each sensor's code.

An actor may crash while a call of its sensor's code runs. Its successor finds the gate closed until that call has
ended or was given up, so that two polls of one sensor never overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors.raw import Lock
from flowstone.errors import SensorNotFound, ValidationError
from flowstone.sensors.spec import SensorSpec

__all__ = ["PollGate", "SensorBook"]


class PollGate:
    """The right to call one sensor's code; usable from any thread."""

    __slots__ = ("_closed", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._waiting: Callable[[], None] | None = None

    def enter(self, opened: Callable[[], None]) -> bool:
        """Whether the caller may call, and then has to `leave`; else `opened` is called when it is time to ask again.

        Only the newest caller is told: who asked before it has ended.
        """
        with self._lock:
            if self._closed:
                self._waiting = opened
                return False
            self._closed = True
            return True

    def leave(self) -> None:
        """The call has ended, or was given up."""
        with self._lock:
            self._closed = False
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting()


class SensorBook:
    """The sensors of a runtime by name, in the order in which they were added."""

    def __init__(self, specs: Iterable[SensorSpec] = ()) -> None:
        self._lock = Lock()
        self._specs: dict[str, SensorSpec] = {}
        self._gates: dict[str, PollGate] = {}
        for spec in specs:
            self.add(spec)

    def add(self, spec: SensorSpec) -> None:
        """Write a sensor in.

        Raises:
            ValidationError: the name is taken.
        """
        with self._lock:
            if spec.name in self._specs:
                taken = self._specs[spec.name].location
                message = f"expected another name than {spec.name!r}: the sensor defined at {taken} has it"
                raise ValidationError(message, name=spec.name)
            self._specs[spec.name] = spec

    def remove(self, name: object) -> SensorSpec:
        """Strike a sensor out, and return it.

        Raises:
            SensorNotFound: there is none of this name.
        """
        with self._lock:
            if not isinstance(name, str) or name not in self._specs:
                raise SensorNotFound.named(name, self._specs)
            return self._specs.pop(name)

    def get(self, name: object) -> SensorSpec:
        """The sensor of this name.

        Raises:
            SensorNotFound: there is none.
        """
        with self._lock:
            if not isinstance(name, str) or name not in self._specs:
                raise SensorNotFound.named(name, self._specs)
            return self._specs[name]

    def gate(self, name: str) -> PollGate:
        """The gate of a sensor; one that was removed and comes back finds the same."""
        with self._lock:
            return self._gates.setdefault(name, PollGate())

    def specs(self) -> tuple[SensorSpec, ...]:
        """All sensors."""
        with self._lock:
            return tuple(self._specs.values())
