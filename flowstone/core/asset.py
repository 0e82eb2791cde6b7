"""Assets as values: a named function, what it depends on, and the policies of its runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowstone.core.checks import check_int, check_text_mapping
from flowstone.core.keywords import check_keywords
from flowstone.core.location import caller
from flowstone.core.mappings import PartitionMapping
from flowstone.core.names import check_name
from flowstone.core.partition_sets import PartitionSet
from flowstone.core.reach import unreachable
from flowstone.durations import seconds
from flowstone.errors import FlowstoneError, ValidationError, did_you_mean, shown

__all__ = ["Asset", "Retry", "RetryPolicy", "Skip", "call_passing"]

LARGEST_FACTOR = 1000
"""By which pauses between attempts may grow; the cap has won long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, how late and after which exceptions an attempt is repeated (semantics 7).

    An attempt waits `min(cap, base * factor ** (attempt - 1))` seconds; `max_attempts` counts the first one too.
    Errors that say they are `retryable` are repeated always, other exceptions when `on` names their type.

    >>> RetryPolicy().delay(2)
    30.0
    """

    max_attempts: int = 3
    base: float = 10.0
    factor: float = 3.0
    cap: float = 300.0
    on: tuple[type[BaseException], ...] = (Exception,)

    def __post_init__(self) -> None:
        check_int("max_attempts", self.max_attempts, minimum=1)
        object.__setattr__(self, "base", seconds(self.base, "base"))
        object.__setattr__(self, "cap", seconds(self.cap, "cap"))
        object.__setattr__(self, "factor", _factor(self.factor))
        object.__setattr__(self, "on", _exception_types(self.on))

    def delay(self, attempt: int) -> float:
        """The seconds to wait after this attempt (counted from 1) failed."""
        # factor ** n overflows a float long before n is unreasonable; past 64 doublings the cap has won anyway.
        return float(min(self.cap, self.base * self.factor ** min(attempt - 1, 64)))

    def repeats(self, error: BaseException, attempt: int) -> bool:
        """Whether another attempt follows this one, which ended with `error`."""
        if attempt >= self.max_attempts:
            return False
        return isinstance(error, self.on) or (isinstance(error, FlowstoneError) and error.retryable)


def _factor(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 <= given <= LARGEST_FACTOR:
        expected = f"expected factor to be a number from 1 to {LARGEST_FACTOR}"
        raise ValidationError(f"{expected}, got: {shown(given)}")
    return float(given)


def _exception_types(given: Any) -> tuple[type[BaseException], ...]:
    types = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(t, type) and issubclass(t, BaseException) for t in types):
        raise ValidationError(f"expected on to be exception types, got: {shown(given)}")
    return types


RETRYABLE_ONLY = RetryPolicy(on=())


@dataclass(frozen=True, slots=True)
class Skip:
    """An asset's answer: there is nothing to make for this partition, for this reason."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """An asset's answer: this attempt failed, try again after so many seconds (default: the asset's policy)."""

    after: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.after is not None:
            object.__setattr__(self, "after", seconds(self.after, "after"))


_OPTIONS = (
    "name",
    "depends_on",
    "partitions",
    "mapping",
    "freshness",
    "retry",
    "timeout",
    "requires",
    "io_manager",
    "process",
    "tags",
    "description",
    "metadata",
    "code_version",
    "pool",
    "concurrency",
    "priority",
)


@dataclass(frozen=True, slots=True, init=False)
class Asset:
    """A data asset: `fn(context, **dependencies)` or `fn(context, deps)` makes its value for one partition.

    Parameters after the first are its dependencies; with `depends_on=` given, those are, and `fn` takes them as
    parameters of their names or in one mapping. Parameters with a default keep it.

    `requires` names the resources that it uses, `process=True` runs it in a worker process, and at most `concurrency`
    of its runs, or as many as its `pool` holds, execute at once.

    `mapping` says for dependencies from which of their partitions a partition is made, where the sets alone would say
    otherwise: `{"raw": TimeWindow(start=-1)}`. A value is stale when it was made longer than `freshness` ago.

    Raises:
        ValidationError: for an unknown keyword, a bad name or option, or a function that takes no context.

    >>> Asset(lambda context, raw: raw, name="clean").depends_on
    ('raw',)
    """

    fn: Callable[..., Any] = field(repr=False)
    name: str
    depends_on: tuple[str, ...] = ()
    partitions: PartitionSet | None = None
    mapping: Mapping[str, PartitionMapping] = field(default_factory=dict)
    freshness: float | None = None
    retry: RetryPolicy = RETRYABLE_ONLY
    timeout: float | None = None
    requires: tuple[str, ...] = ()
    io_manager: str | None = None
    process: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    code_version: str | None = None
    pool: str | None = None
    concurrency: int | None = None
    priority: int = 0
    location: str = field(default="", compare=False)
    passes: str = "names"

    def __init__(self, fn: Callable[..., Any], **options: Any) -> None:
        check_keywords("asset", options, _OPTIONS)
        if not callable(fn):
            raise ValidationError(f"expected an asset to be a function, got: {shown(fn)}")
        name = check_name("asset", options.get("name", getattr(fn, "__name__", None)))
        depends_on, passes = _dependencies(name, fn, options.get("depends_on"))
        values = {
            "fn": fn,
            "name": name,
            "depends_on": depends_on,
            "passes": passes,
            "partitions": _partitions(name, options.get("partitions")),
            "mapping": _mapping(name, depends_on, options.get("mapping") or {}),
            "freshness": _freshness(options.get("freshness")),
            "retry": _retry(name, options.get("retry")),
            "timeout": _timeout(options.get("timeout")),
            "requires": _requires(name, options.get("requires")),
            "io_manager": _text(name, "io_manager", options.get("io_manager")),
            "process": _process(name, fn, options.get("process", False)),
            "tags": check_text_mapping(f"tags of asset {name!r}", options.get("tags") or {}),
            "description": _text(name, "description", options.get("description")) or inspect.getdoc(fn) or "",
            "metadata": dict(options.get("metadata") or {}),
            "code_version": _text(name, "code_version", options.get("code_version")),
            "pool": _pool(options.get("pool")),
            "concurrency": _concurrency(name, options.get("concurrency")),
            "priority": check_int(f"priority of asset {name!r}", options.get("priority", 0)),
            "location": caller(),
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as plain tests of it do."""
        return self.fn(*args, **kwargs)

    def call(self, context: Any, dependencies: Mapping[str, Any]) -> Any:
        """Call the function with its dependencies in the way that it takes them."""
        return call_passing(self.fn, self.passes, context, dependencies)


def call_passing(fn: Callable[..., Any], passes: str, context: Any, dependencies: Mapping[str, Any]) -> Any:
    """Call a function with dependencies passed by `names`, in one `mapping`, or with `nothing` of them."""
    if passes == "mapping":
        return fn(context, dict(dependencies))
    if passes == "nothing":
        return fn(context)
    return fn(context, **dependencies)


def _dependencies(name: str, fn: Callable[..., Any], given: Any) -> tuple[tuple[str, ...], str]:
    """The dependencies and how `fn` takes them: by `names`, in one `mapping`, or `nothing` of them."""
    parameters = _parameters(name, fn)
    keywords = any(p.kind is p.VAR_KEYWORD for p in parameters)
    taken = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if not taken or taken[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise ValidationError(f"expected asset {name!r} to take `context` as its first parameter")
    names = tuple(p.name for p in taken[1:])
    if given is None:
        return names, "names"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValidationError(f"expected depends_on of asset {name!r} to be a list of asset names, got: {shown(given)}")
    listed = tuple(dict.fromkeys(check_name("asset", getattr(item, "name", item)) for item in given))
    return listed, _passing(name, names, listed, keywords)


def _passing(name: str, names: tuple[str, ...], listed: tuple[str, ...], keywords: bool) -> str:
    if set(names) == set(listed) or (keywords and set(names) <= set(listed)):
        return "names"
    if len(names) == 1:
        return "mapping"
    if not names:
        return "nothing"
    expected = ", ".join(("context", *listed))
    raise ValidationError(f"expected asset {name!r} to take ({expected}) or (context, deps), got: {', '.join(names)}")


def _parameters(name: str, fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError) as error:
        raise ValidationError(f"expected asset {name!r} to be a function with a readable signature") from error
    return [p for p in parameters if p.kind is not p.VAR_POSITIONAL]


def _partitions(name: str, given: Any) -> PartitionSet | None:
    if given is not None and (isinstance(given, type) or not isinstance(given, PartitionSet)):
        expected = "a partition set such as Daily(start=...) or Static([...])"
        raise ValidationError(f"expected partitions of asset {name!r} to be {expected}, got: {shown(given)}")
    return given


def _mapping(name: str, depends_on: tuple[str, ...], given: Any) -> dict[str, PartitionMapping]:
    known = "Identity(), All(), Latest(), TimeWindow(...) or Dimension(...)"
    if not isinstance(given, Mapping):
        expected = f"expected mapping of asset {name!r} to name for dependencies {known}"
        raise ValidationError(f"{expected}, got: {shown(given)}")
    for dependency, mapping in given.items():
        if dependency not in depends_on:
            hint = did_you_mean(str(dependency), depends_on) or f"; it depends on: {', '.join(depends_on) or 'nothing'}"
            raise ValidationError(f"mapping of asset {name!r} names {shown(dependency)}, no dependency of it{hint}")
        if isinstance(mapping, type) or not isinstance(mapping, PartitionMapping):
            expected = f"expected mapping of asset {name!r} from {dependency!r} to be {known}"
            raise ValidationError(f"{expected}, got: {shown(mapping)}")
    return dict(given)


def _freshness(given: Any) -> float | None:
    return None if given is None else seconds(given, "freshness", minimum=0.001)


def _retry(name: str, given: Any) -> RetryPolicy:
    if given is None:
        return RETRYABLE_ONLY
    if not isinstance(given, RetryPolicy):
        raise ValidationError(f"expected retry of asset {name!r} to be a RetryPolicy, got: {shown(given)}")
    return given


def _timeout(given: Any) -> float | None:
    return None if given is None else seconds(given, "timeout", minimum=0.001)


def _requires(name: str, given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        expected = f"expected requires of asset {name!r} to be a list of resource names"
        raise ValidationError(f"{expected}, got: {shown(given)}")
    return tuple(dict.fromkeys(check_name("resource", item) for item in given))


def _process(name: str, fn: Callable[..., Any], given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValidationError(f"expected process of asset {name!r} to be True or False, got: {shown(given)}")
    reason = unreachable(fn) if given else None
    if reason is not None:
        advice = "define it at the top of a module"
        raise ValidationError(f"asset {name!r} can't run in a process of its own: {reason}; {advice}")
    return given


def _pool(given: Any) -> str | None:
    return None if given is None else check_name("pool", given)


def _concurrency(name: str, given: Any) -> int | None:
    return None if given is None else check_int(f"concurrency of asset {name!r}", given, minimum=1)


def _text(name: str, option: str, given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise ValidationError(f"expected {option} of asset {name!r} to be text, got: {shown(given)}")
    return given
