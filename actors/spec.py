"""Child specifications: what a supervisor starts, and how it restarts and stops it.

The words and rules are those of OTP's supervisor (https://www.erlang.org/doc/man/supervisor).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from actors.errors import SpecError

__all__ = [
    "AutoShutdown",
    "Backoff",
    "ChildSpec",
    "Mailbox",
    "Overflow",
    "Quarantine",
    "Restart",
    "Strategy",
    "choice",
    "not_negative",
    "positive",
]

E = TypeVar("E", bound=StrEnum)
DEFAULT_SHUTDOWN = 5.0


class Restart(StrEnum):
    """When an ended child is started again: always, after a crash, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Strategy(StrEnum):
    """Which children are restarted with one that crashed: itself, all, those started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(StrEnum):
    """Whether a supervisor ends when its significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Overflow(StrEnum):
    """What a full mailbox does with one more message."""

    BLOCK = "block"
    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"
    REFUSE = "refuse"


def positive(name: str, value: object, *, unit: str = "seconds") -> float:
    """Return `value` as a float when it is a number above 0. Raises SpecError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise SpecError(f"expected {name} to be positive {unit}, got: {value!r}")
    return float(value)


def not_negative(name: str, value: object) -> int:
    """Return `value` when it is a whole number from 0 up. Raises SpecError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpecError(f"expected {name} to be a whole number from 0 up, got: {value!r}")
    return value


def choice(name: str, value: Any, of: type[E]) -> E:
    """Return the member of `of` that `value` names. Raises SpecError with the list of names otherwise."""
    try:
        return of(value)
    except ValueError:
        raise SpecError(f"expected {name} to be one of {', '.join(of)}, got: {value!r}") from None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before restarts.

    `base * factor ** n` seconds, at most `cap`; n starts over after `reset_after` quiet seconds.
    """

    base: float = 0.1
    factor: float = 2.0
    cap: float = 30.0
    reset_after: float = 60.0

    def __post_init__(self) -> None:
        for name in ("base", "factor", "cap", "reset_after"):
            positive(f"backoff {name}", getattr(self, name))

    def delay(self, crashes: int) -> float:
        """Return the pause in seconds after `crashes` crashes in a row (1 after the first)."""
        exponent = min(crashes - 1, 64)
        return min(self.cap, self.base * self.factor**exponent)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A restart budget for each child.

    More than `max_restarts` in `max_seconds` parks it, `retry_after` seconds later it is tried again.
    """

    max_restarts: int = 3
    max_seconds: float = 5.0
    retry_after: float = 60.0

    def __post_init__(self) -> None:
        not_negative("quarantine max_restarts", self.max_restarts)
        positive("quarantine max_seconds", self.max_seconds)
        positive("quarantine retry_after", self.retry_after)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A bound on waiting messages: at most `size`, and what happens with one more."""

    size: int
    overflow: Overflow = Overflow.BLOCK

    def __post_init__(self) -> None:
        if not_negative("mailbox size", self.size) == 0:
            raise SpecError("expected mailbox size to be at least 1, got: 0")
        object.__setattr__(self, "overflow", choice("mailbox overflow", self.overflow, Overflow))


@dataclass(frozen=True, slots=True, eq=False)
class ChildSpec:
    """One child: the class, the arguments of its `init`, and the rules of its life.

    `shutdown` is seconds, `"brutal_kill"` or `"infinity"`; by default 5 seconds, and `"infinity"` for a supervisor.
    `id` is by default the name of the class. Raises SpecError for what can't be.

    >>> ChildSpec(dict, id="a").restart
    <Restart.PERMANENT: 'permanent'>
    """

    cls: type[Any]
    id: str | None = field(default=None, kw_only=True)
    args: tuple[Any, ...] = field(default=(), kw_only=True)
    kwargs: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    restart: Restart = field(default=Restart.PERMANENT, kw_only=True)
    shutdown: float | str | None = field(default=None, kw_only=True)
    significant: bool = field(default=False, kw_only=True)
    backoff: Backoff | None = field(default=None, kw_only=True)
    mailbox: Mailbox | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.cls, type):
            raise SpecError(f"expected cls to be an actor class, got: {self.cls!r}")
        _check_id(self.id)
        if not isinstance(self.args, tuple | list):
            raise SpecError(f"expected args to be a tuple, got: {self.args!r}")
        if not isinstance(self.kwargs, Mapping):
            raise SpecError(f"expected kwargs to be a mapping, got: {self.kwargs!r}")
        object.__setattr__(self, "args", tuple(self.args))
        object.__setattr__(self, "restart", choice("restart", self.restart, Restart))
        object.__setattr__(self, "shutdown", _shutdown(self.shutdown, self.cls))
        if self.significant and self.restart is Restart.PERMANENT:
            raise SpecError(
                f"expected a significant child to be transient or temporary, got: {self.name!r} which is permanent"
            )

    @property
    def name(self) -> str:
        """Return the id, or the name of the class when there is none."""
        return self.id if self.id is not None else self.cls.__name__

    @property
    def bounds(self) -> Mailbox | None:
        """Return the bound of the mailbox: this specification's, else the class's, None without one."""
        bounds: Mailbox | None = self.mailbox if self.mailbox is not None else getattr(self.cls, "mailbox", None)
        return bounds

    @property
    def patience(self) -> float | None:
        """Return how many seconds a shutdown may take: None is for ever, 0 kills at once."""
        if self.shutdown == "infinity":
            return None
        return self.shutdown if isinstance(self.shutdown, float) else 0.0


def _check_id(value: object) -> None:
    if value is not None and not (isinstance(value, str) and value):
        raise SpecError(f"expected id to be a text that is not empty, got: {value!r}")


def _shutdown(value: object, cls: type[Any]) -> float | str:
    if value is None:
        return "infinity" if getattr(cls, "supervises", False) else DEFAULT_SHUTDOWN
    if value in ("brutal_kill", "infinity"):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise SpecError(f"expected shutdown to be seconds, 'brutal_kill' or 'infinity', got: {value!r}")
    return float(value)
