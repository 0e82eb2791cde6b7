"""The tree of errors that FlowStone raises.

    FlowstoneError
    ├── ValidationError         CronError  PartitionError  ConfigError  CycleError
    ├── AssetNotFound  ScheduleNotFound  SensorNotFound  RunNotFound  ApprovalNotFound  BackfillNotFound  ValueNotFound
    ├── DependencyFailed  DependencyNotReady  IOManagerError  ExecutionError  TimeoutExceeded  ResourceUnavailable
    ├── ApprovalRejected  StaleState  RunKeyConflict  PoisonedRun
    └── StoreLocked  StoreUnavailable  RuntimeStopped  ForkedRuntime

Each is made of a message and of named values, so that it survives pickling between processes.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any, ClassVar, Self

__all__ = [
    "ApprovalNotFound",
    "ApprovalRejected",
    "AssetNotFound",
    "BackfillNotFound",
    "ConfigError",
    "CronError",
    "CycleError",
    "DependencyFailed",
    "DependencyNotReady",
    "ExecutionError",
    "FlowstoneError",
    "ForkedRuntime",
    "IOManagerError",
    "PartitionError",
    "PoisonedRun",
    "ResourceUnavailable",
    "RunKeyConflict",
    "RunNotFound",
    "RuntimeStopped",
    "ScheduleNotFound",
    "SensorNotFound",
    "StaleState",
    "StoreLocked",
    "StoreUnavailable",
    "TimeoutExceeded",
    "ValidationError",
    "ValueNotFound",
    "did_you_mean",
    "shown",
    "storable",
    "text_of",
]

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class FlowstoneError(Exception):
    """The root of all errors of FlowStone.

    `str(error)` is the message, `.context` holds the values that it names, `.retryable` tells whether the
    same attempt may succeed later.

    >>> error = ValidationError("expected every to be positive, got: 0", every=0)
    >>> error.type, error.retryable, error.context
    ('validation_error', False, {'every': 0})
    """

    retryable: bool = False

    # Pickling keeps the keywords all the same: they are attributes, and BaseException.__reduce__ carries those.
    def __init__(self, message: str, *, retryable: bool | None = None, **context: Any) -> None:  # noqa: B042
        super().__init__(message)
        self.context: dict[str, Any] = context
        if retryable is not None:
            self.retryable = retryable

    @property
    def type(self) -> str:
        """The name of the class in snake case; a run of capitals is one word."""
        return _WORD_STARTS.sub("_", type(self).__name__).lower()


class ValidationError(FlowstoneError):
    """A definition, an option or an argument is wrong."""

    @property
    def problems(self) -> tuple[FlowstoneError, ...]:
        """The single errors, when this one sums up a check of the whole."""
        return tuple(self.context.get("problems", ()))


class CronError(ValidationError):
    """A cron expression, an interval or a time zone is wrong."""


class PartitionError(ValidationError):
    """A partition is of no legal type, is damaged, or is not held by its set."""


class ConfigError(ValidationError):
    """A setting is wrong."""


class CycleError(ValidationError):
    """Assets depend on each other in a circle.

    >>> str(CycleError.along(["a", "b", "a"]))
    'dependencies must not form a circle, got: a -> b -> a; remove one of these dependencies'
    """

    @classmethod
    def along(cls, path: Iterable[str]) -> Self:
        """The error for a circle, given as the assets on it with the first one repeated at the end."""
        steps = tuple(path)
        message = f"dependencies must not form a circle, got: {' -> '.join(steps)}; remove one of these dependencies"
        return cls(message, path=steps)

    @property
    def path(self) -> tuple[str, ...]:
        """The assets on the circle; the first one is repeated at the end."""
        return tuple(self.context.get("path", ()))


class _NamedThingNotFound(FlowstoneError):
    """What all errors about an unknown name share."""

    noun: ClassVar[str] = "thing"

    @classmethod
    def named(cls, name: object, known: Iterable[str] = ()) -> Self:
        """The error for an unknown name, with the nearest of the known ones suggested.

        >>> str(AssetNotFound.named("repotr", ["report", "raw"]))
        "asset 'repotr' not found; did you mean 'report'?"
        """
        hint = did_you_mean(str(name), known)
        return cls(f"{cls.noun} {shown(name)} not found{hint}", name=name)


class AssetNotFound(_NamedThingNotFound):
    """No asset has this name."""

    noun = "asset"


class ScheduleNotFound(_NamedThingNotFound):
    """No schedule has this name."""

    noun = "schedule"


class SensorNotFound(_NamedThingNotFound):
    """No sensor has this name."""

    noun = "sensor"


class RunNotFound(_NamedThingNotFound):
    """No run has this id."""

    noun = "run"


class ApprovalNotFound(_NamedThingNotFound):
    """No approval has this id."""

    noun = "approval"


class BackfillNotFound(_NamedThingNotFound):
    """No backfill has this id."""

    noun = "backfill"


class ValueNotFound(_NamedThingNotFound):
    """No value is stored for this asset and partition."""

    noun = "value"


class DependencyFailed(FlowstoneError):
    """An asset that this one depends on failed in the same run."""


class DependencyNotReady(FlowstoneError):
    """The value of an asset that this one depends on is missing."""

    retryable = True


class IOManagerError(FlowstoneError):
    """A value could not be stored, loaded or deleted."""

    retryable = True


class ExecutionError(FlowstoneError):
    """User code raised, or answered with what is no result; its own exception is the cause."""


class TimeoutExceeded(FlowstoneError):
    """A call outlasted its timeout."""

    retryable = True


class ResourceUnavailable(FlowstoneError):
    """A resource that an asset requires is not up."""

    retryable = True


class ApprovalRejected(FlowstoneError):
    """A person, or the deadline, decided against."""


class StaleState(FlowstoneError):
    """The state moved on between reading and writing it."""

    retryable = True


class RunKeyConflict(FlowstoneError):
    """A run key is taken by a request that means something else."""


class PoisonedRun(FlowstoneError):
    """A run was interrupted too many times in a row."""


class StoreLocked(FlowstoneError):
    """Another runtime holds the store."""


class StoreUnavailable(FlowstoneError):
    """The store can't be opened, read or written."""

    retryable = True


class RuntimeStopped(FlowstoneError):
    """Work was asked of a runtime that is not running."""


class ForkedRuntime(FlowstoneError):
    """A runtime was used in another process than the one that started it."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message that suggests the nearest known word; empty when none is near.

    >>> did_you_mean("evry", ["every", "cron"])
    "; did you mean 'every'?"
    """
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def shown(value: object, limit: int = 80) -> str:
    """A value as messages show it: its repr, cut to `limit` characters, or its type when it has none.

    >>> shown("x" * 100, limit=10)
    "'xxxxxxxx…"
    """
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def storable(text: str) -> str:
    r"""A text that every store can hold: lone surrogates, as in names of files that are no text, and NUL are escaped.

    >>> storable("caf\udce9 \0")
    'caf\\udce9 \\x00'
    """
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def text_of(error: object) -> str:
    """What an error, or whatever else users write, says of itself; what it is, when it fails to.

    >>> text_of(KeyError("rows"))
    "'rows'"
    """
    try:
        return str(error)
    except Exception:
        return shown(error)
