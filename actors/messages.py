"""Messages that actors get from the system, and the signals that the system sends itself.

`Down` and `Exit` arrive in `receive`. Signals never do: they overtake the mailbox, so that a flooded actor still stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "KILLED",
    "NORMAL",
    "SHUTDOWN",
    "ChildExited",
    "Crash",
    "Describe",
    "Down",
    "DownFor",
    "Exit",
    "ExitSignal",
    "Inspect",
    "Link",
    "Shutdown",
    "Start",
    "Stop",
    "StopBy",
    "Tick",
    "Trace",
    "Unlink",
    "Unwatch",
    "Watch",
    "is_normal",
]

NORMAL = "normal"
SHUTDOWN = "shutdown"
KILLED = "killed"


class Shutdown(str):
    """The exit reason `"shutdown"` that also carries why, as OTP's `{shutdown, Term}`; equal to the plain text."""

    cause: BaseException

    def __new__(cls, cause: BaseException) -> Shutdown:
        reason = super().__new__(cls, SHUTDOWN)
        reason.cause = cause
        return reason


def is_normal(reason: object) -> bool:
    """Tell whether `reason` is an expected end (`normal` or `shutdown`), after which a transient child stays down."""
    return isinstance(reason, str) and reason in (NORMAL, SHUTDOWN)


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored actor has ended.

    `ref` as it was monitored, `reason` its exit reason, `token` what `monitor` returned.
    """

    ref: Any
    reason: Any
    token: Any = None


@dataclass(frozen=True, slots=True)
class Exit:
    """A linked actor has ended; received as a message only by an actor that traps exits."""

    ref: Any
    reason: Any


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer's message on its way; dropped when the timer was cancelled meanwhile."""

    timer: Any


@dataclass(frozen=True, slots=True)
class DownFor:
    """A `Down` on its way; dropped when the monitor was removed meanwhile."""

    token: Any
    reason: Any


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask for `look(actor.snapshot())`, run in the actor after what was told before."""

    look: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Start:
    """Signal: build the actor and run its `init`; `started` gets its ref or the error."""

    started: Any


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask to end with `reason`. As a signal at once, as a message when its turn comes."""

    reason: Any = NORMAL


@dataclass(frozen=True, slots=True)
class StopBy:
    """Signal: end with `reason` at `deadline` (raw monotonic seconds) even if messages told before still wait."""

    reason: Any
    deadline: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Signal: call `sink(reason)` when the actor ends, at once when it has ended."""

    token: Any
    sink: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Signal: forget a watch."""

    token: Any


@dataclass(frozen=True, slots=True)
class Link:
    """Signal: `other` has linked itself to this actor."""

    other: Any


@dataclass(frozen=True, slots=True)
class Unlink:
    """Signal: `other` has removed its link."""

    other: Any


@dataclass(frozen=True, slots=True)
class ExitSignal:
    """Signal: the linked actor `sender` has ended with `reason`."""

    sender: Any
    reason: Any


@dataclass(frozen=True, slots=True)
class Crash:
    """Signal: end as if `error` had been raised by the message in hand (for tests and fault injection)."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Describe:
    """Signal: `answer` gets what the actor says about itself."""

    answer: Any


@dataclass(frozen=True, slots=True)
class Trace:
    """Signal: report each message handled from now on, or no more."""

    on: bool


@dataclass(frozen=True, slots=True)
class ChildExited:
    """Signal to a supervisor: the actor in `slot` has ended."""

    slot: Any
    cell: Any
    reason: Any
