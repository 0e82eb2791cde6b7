"""The sensor behaviour, and what a poll may answer.

A sensor looks at something outside and says what arrived since it looked last. It keeps nothing itself: its state is
JSON that FlowStone stores together with the runs that were asked for, and hands to the next poll.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, Union

from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.core.run import RunRequest
from flowstone.errors import ValidationError, shown
from flowstone.sensors.surroundings import Surroundings

__all__ = ["KEEP", "Answer", "Arrival", "Item", "Keep", "NoTrigger", "PollError", "Sensor", "Trigger"]


class Keep(enum.Enum):
    """The type of `KEEP`, which stands for "no new state": None is a state like any other."""

    STATE = "keep"


KEEP = Keep.STATE


@checked_keywords
@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that arrived: a partition, a `key` by which it is known again, and a JSON payload of up to 64 kB.

    An arrival whose key the sensor has committed before is dropped and counted as a duplicate. The payload reaches
    the asset as `context.trigger.payload`.

    Raises:
        ValidationError: the key is no text, or an empty one.
    """

    partition: Partition
    key: str | None = None
    payload: Any = None

    def __post_init__(self) -> None:
        given: object = self.key
        if given is not None and (not isinstance(given, str) or not given):
            raise ValidationError(f"expected key of an Arrival to be a text that is not empty, got: {shown(given)}")


Item: TypeAlias = Union[Partition, Arrival, RunRequest]


@checked_keywords
@dataclass(frozen=True, slots=True, init=False)
class Trigger:
    """The answer "something arrived": partitions, `Arrival`s or `RunRequest`s, one run each, and the new state.

    Without `state=` the state stays as it is. `seen` are keys of arrivals that shall count as committed before. With
    `again` there is more to see, and the timer polls at once.

    Raises:
        ValidationError: no item is given; an asset without partitions is triggered by `Trigger(None)`.

    >>> Trigger("2025-01-15", "2025-01-16", state={"seen": 2}).items
    ('2025-01-15', '2025-01-16')
    """

    items: tuple[Item, ...]
    state: Any
    seen: tuple[str, ...]
    again: bool

    def __init__(self, *items: Item, state: Any = KEEP, seen: Iterable[str] = (), again: bool = False) -> None:
        if not items:
            raise ValidationError("expected Trigger to carry at least one partition, got none; None is a partition too")
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "state", state)
        object.__setattr__(self, "seen", tuple(seen))
        object.__setattr__(self, "again", again)


@checked_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class NoTrigger:
    """The answer "nothing arrived", with the new state where it changed and a reason for people.

    `seen` are keys of arrivals that shall count as committed before. With `again` the timer polls at once.
    """

    state: Any = KEEP
    reason: str | None = None
    seen: tuple[str, ...] = ()
    again: bool = False


class PollError(Exception):
    """The answer "could not look"; may be returned or raised.

    `code` is a stable word for programs, `reason` the text for people. With `retry_after`, in seconds, the timer waits
    at least that long, a day at the most.

    >>> PollError("connection refused", code="network_error").code
    'network_error'
    """

    def __init__(  # noqa: B042 - __reduce__ keeps what is given by keyword
        self, reason: object, *, code: str = "poll_error", retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return _poll_error, (self.reason, self.code, self.retry_after)


def _poll_error(reason: object, code: str, retry_after: float | None) -> PollError:
    return PollError(reason, code=code, retry_after=retry_after)


Answer: TypeAlias = Union[Trigger, NoTrigger, PollError]


class Sensor(abc.ABC):
    """What a sensor implements; each method may be plain or `async`.

    The constructor takes the configuration and checks it; its parameters, kept in attributes of the same name, are
    shown to people, secrets masked.

    >>> class Always(Sensor):
    ...     def poll(self, state):
    ...         return Trigger(None, state=(state or 0) + 1)
    >>> Always().poll(None).state
    1
    """

    kind: ClassVar[str] = "poll"

    lookback: ClassVar[float | None] = None
    """Seconds for which the keys of arrivals are remembered after they were last seen; None is for ever."""

    def init(self) -> Any:
        """The first state, as JSON; called until it succeeds once."""
        return None

    @abc.abstractmethod
    def poll(self, state: Any) -> Answer | Awaitable[Answer]:
        """What arrived since the poll that left `state`; may raise, which leaves the state as it was."""

    def within(self, surroundings: Surroundings) -> Sensor:
        """The sensor whose `init` and `poll` are called: itself, or a copy that can look at its surroundings."""
        return self

    def cleanup(self, state: Any) -> None | Awaitable[None]:
        """Release what the sensor holds; called with the last committed state when it is removed or stopped."""
        return None
