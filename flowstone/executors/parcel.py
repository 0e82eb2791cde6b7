"""What travels between a runtime and a worker process: jobs there, and what became of them back.

A function travels by its name, everything else by pickle; what can't is refused with its name and what to do.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actors import Clock, RealClock
from flowstone.errors import ExecutionError, FlowstoneError
from flowstone.executors.origin import MAIN, MainModule, Origin, loads, origin_of

__all__ = [
    "Begun",
    "Job",
    "Logged",
    "Raised",
    "Returned",
    "WorkerClock",
    "WorkerTraceback",
    "packed",
    "packed_error",
    "unpacked_error",
]


@dataclass(frozen=True, slots=True)
class Job:
    """One call: what a worker sets up before it unpickles the `body`, which is (function, context, dependencies).

    `level` is from where on the parent wants to have log records. The function is None when it travels by `origin`.
    """

    body: bytes
    origin: Origin | None
    passes: str
    main: MainModule
    needs_main: bool
    path: tuple[str, ...]
    argv: tuple[str, ...]
    directory: str | None
    level: int


@dataclass(frozen=True, slots=True)
class WorkerClock:
    """The clock of a context in a worker process: real time, or the moment of the call where a test owns the time."""

    stopped_at: tuple[datetime, float] | None

    @classmethod
    def like(cls, clock: Clock) -> WorkerClock:
        """The clock for a worker of a runtime that has this one."""
        return cls(None if isinstance(clock, RealClock) else (clock.now(), clock.monotonic()))

    def now(self) -> datetime:
        """The wall time, aware, in UTC."""
        return RealClock().now() if self.stopped_at is None else self.stopped_at[0]

    def monotonic(self) -> float:
        """Seconds that never go back, of use within one process."""
        return RealClock().monotonic() if self.stopped_at is None else self.stopped_at[1]


@dataclass(frozen=True, slots=True)
class Begun:
    """The worker has everything, and calls the function now."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A log record of the worker's, as attributes that can be pickled."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Returned:
    """What the function returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """What the function raised: the exception itself where it can travel, and in any case what it said and where."""

    error: bytes | None
    text: str
    trace: str


class WorkerTraceback(Exception):
    """Where in a worker process an exception came from; the cause of that exception here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def packed(fn: Callable[..., Any], passes: str, context: Any, dependencies: Mapping[str, Any], level: int) -> bytes:
    """A call as bytes for a worker process.

    Raises:
        ExecutionError: the function or a value can't travel.
    """
    origin = origin_of(fn)
    where = origin.module if origin is not None else getattr(fn, "__module__", None)
    job = Job(
        body=_body(None if origin is not None else fn, context, dependencies),
        origin=origin,
        passes=passes,
        main=MainModule.of_this_process(),
        needs_main=where == MAIN,
        path=tuple(sys.path),
        argv=tuple(sys.argv),
        directory=_directory(),
        level=level,
    )
    return pickle.dumps(job)


def _body(fn: Callable[..., Any] | None, context: Any, dependencies: Mapping[str, Any]) -> bytes:
    try:
        return pickle.dumps((fn, context, dict(dependencies)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        for what, value, advice in _suspects(fn, context, dependencies):
            try:
                pickle.dumps(value)
            except Exception as reason:
                message = f"{what} can't be sent to a worker process: {reason}; {advice}"
                raise ExecutionError(message) from reason
        raise ExecutionError(f"the call can't be sent to a worker process: {error}") from error


def _suspects(fn: Any, context: Any, dependencies: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    values = [
        (f"the value of {name!r} ({type(value).__name__})", value, "make it of plain data, or leave out process=True")
        for name, value in dependencies.items()
    ]
    function = getattr(fn, "__qualname__", type(fn).__name__)
    advice = "define it at the top of a module that can be imported, under its own name"
    return [(f"the function {function}", fn, advice), *values, ("the context", context, "leave out process=True")]


def _directory() -> str | None:
    with suppress(OSError):
        return os.getcwd()
    return None


def packed_error(error: BaseException) -> Raised:
    """An exception of a worker process on its way back."""
    text = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return Raised(None, text, trace)
    return Raised(data, text, trace)


def unpacked_error(raised: Raised) -> BaseException:
    """The exception as its asset's attempt raises it here, with where it came from as its cause."""
    error: BaseException = ExecutionError(raised.text)
    if raised.error is not None:
        with suppress(Exception):
            loaded = loads(raised.error)
            error = loaded if isinstance(loaded, BaseException) else error
    if not (isinstance(error, FlowstoneError) and error.__cause__ is not None):
        error.__cause__ = WorkerTraceback(raised.trace)
    return error
