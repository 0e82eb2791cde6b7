"""What the actors of sensors are told. `Poll` is for everybody; the rest is their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowstone.audit.who import who
from flowstone.outcome import Outcome

__all__ = [
    "CallEnded",
    "Called",
    "Changed",
    "Committed",
    "GateOpened",
    "Initialised",
    "Look",
    "Nudge",
    "Opened",
    "Poll",
    "Retry",
    "TimerDue",
]


@dataclass(frozen=True, slots=True)
class Poll:
    """Poll once, now: each message makes an evaluation of its own, in turn. An ask is answered with the evaluation.

        runtime.sensors.ref("orders").ask(Poll(), timeout=10)

    `by` names who asks, for the audit; the user of the operating system by default.

    Raises:
        ValidationError: `by` is no text.
    """

    by: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the audit would refuse, before it is in anybody's hand."""
        if self.by is not None:
            who(self.by)


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The interval, or the wait after failures, has passed."""


@dataclass(frozen=True, slots=True)
class Nudge:
    """Something outside has changed: the sensor asks for a poll before its time."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The sensor's row was changed by somebody else: look at it, unless `state_version` is the one that is known."""

    state_version: int | None = None


@dataclass(frozen=True, slots=True)
class GateOpened:
    """The call of an earlier actor of this sensor has ended."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The row was read, or the store failed."""

    outcome: Outcome[Any]


@dataclass(frozen=True, slots=True)
class Called:
    """The call of `init` or `poll` has ended, or was given up."""

    generation: int
    outcome: Outcome[Any]


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call that was given up has come back after all."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """The first cursor was committed, or the store failed."""

    outcome: Outcome[Any]


@dataclass(frozen=True, slots=True)
class Committed:
    """The evaluation was committed, or the store failed."""

    outcome: Outcome[Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again what the store refused."""


@dataclass(frozen=True, slots=True)
class Look:
    """Deliveries may be due: look into the store."""
