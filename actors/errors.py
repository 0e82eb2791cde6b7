"""The tree of errors of `actors`.

    ActorError
    ├── ActorDeadError         a message to an actor that has ended; also pykka's ActorDeadError
    ├── AskTimeout             no answer in time; also pykka's Timeout and TimeoutError
    ├── AskCycleError          the asked actor waits, over others, for the asking one
    ├── MailboxFull            a bounded mailbox refused or dropped a message
    ├── WouldBlock             a wait where waiting would stop everything
    ├── SpecError              an option or child specification that can't be; also ValueError
    ├── ChildError             ├── ChildStartError  ├── ChildExists  ├── ChildNotFound  ├── ChildRunning  └──
    TooManyChildren
    ├── GaveUp                 a supervisor whose children crashed too often
    ├── NameTaken              a name registered twice
    ├── SystemStopped          something asked of a stopped system
    └── ForkedSystem           a system used in a forked child of its process

pykka's two errors are bases so that `except pykka.ActorDeadError` keeps working around proxies.
"""

# flake8: noqa: B042 - the base class sees to pickling
from __future__ import annotations

import os
from typing import Any

import pykka

__all__ = [
    "ActorDeadError",
    "ActorError",
    "AskCycleError",
    "AskTimeout",
    "ChildError",
    "ChildExists",
    "ChildNotFound",
    "ChildRunning",
    "ChildStartError",
    "ForkedSystem",
    "GaveUp",
    "MailboxFull",
    "NameTaken",
    "SpecError",
    "SystemStopped",
    "TooManyChildren",
    "WouldBlock",
]


class ActorError(Exception):
    """Base of all errors that `actors` raises itself; they survive pickling whatever their constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[ActorError], args: tuple[Any, ...], state: dict[str, Any]) -> ActorError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ActorDeadError(ActorError, pykka.ActorDeadError):
    """The actor has ended; `reason` is why (`"normal"`, `"shutdown"`, `"killed"` or its exception)."""

    def __init__(self, path: str, reason: object = None) -> None:
        super().__init__(f"{path} is not alive; it ended with: {reason!r}")
        self.path = path
        self.reason = reason


class AskTimeout(ActorError, pykka.Timeout, TimeoutError):
    """No answer within `timeout` seconds; a late answer goes nowhere."""

    def __init__(self, what: str, timeout: float) -> None:
        super().__init__(f"no answer from {what} within {timeout:g} s")
        self.timeout = timeout


class AskCycleError(ActorError):
    """An ask that could never be answered: `path` lists who waits for whom, first and last the same."""

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(f"ask cycle: {' -> '.join(path)}; use tell, or answer later with defer()")
        self.path = path


class MailboxFull(ActorError):
    """A bounded mailbox is full, and its policy refused or dropped this message."""

    def __init__(self, path: str, size: int, policy: str) -> None:
        super().__init__(f"the mailbox of {path} is full: {size} messages wait; its policy is {policy}")
        self.size = size


class WouldBlock(ActorError):
    """A wait was asked for where waiting would stop every actor, or the waiting one for ever."""


class SpecError(ActorError, ValueError):
    """A child specification or option that can't be; says what was expected and what was given."""


class ChildError(ActorError):
    """Base of what a supervisor answers about one child, named by `id`."""

    def __init__(self, message: str, *, id: str) -> None:
        super().__init__(message)
        self.id = id


class ChildStartError(ChildError):
    """A child could not be started; the cause is the child's own error."""

    def __init__(self, id: str, cause: BaseException) -> None:
        super().__init__(f"child {id!r} could not be started: {type(cause).__name__}: {cause}", id=id)
        self.__cause__ = cause


class ChildExists(ChildError):
    """A child with that id is there already."""

    def __init__(self, id: str) -> None:
        super().__init__(f"a child {id!r} exists already; delete it first or give another id", id=id)


class ChildNotFound(ChildError):
    """No child has that id."""

    def __init__(self, id: str, known: tuple[str, ...] = ()) -> None:
        named = f"; the children are: {', '.join(known[:20])}" if known else ""
        super().__init__(f"no child {id!r}{named}", id=id)


class ChildRunning(ChildError):
    """The child runs (or is being restarted), and the call needs one that is stopped."""

    def __init__(self, id: str, state: str) -> None:
        super().__init__(f"child {id!r} is {state}; terminate it first", id=id)


class TooManyChildren(ChildError):
    """The dynamic supervisor has `max_children` children already."""

    def __init__(self, id: str, limit: int) -> None:
        super().__init__(f"child {id!r} was refused: max_children is {limit}", id=id)


class GaveUp(ActorError):
    """A supervisor ended because its children crashed too often; the cause is the last crash."""

    def __init__(self, path: str, id: str, max_restarts: int, max_seconds: float, reason: object) -> None:
        super().__init__(
            f"{path} gave up: more than {max_restarts} restarts in {max_seconds:g} s, last child {id!r}: {reason!r}"
        )
        self.__cause__ = reason if isinstance(reason, BaseException) else None


class NameTaken(ActorError):
    """The name belongs to another living actor."""

    def __init__(self, name: str, holder: object) -> None:
        super().__init__(f"the name {name!r} is taken by {holder}")


class SystemStopped(ActorError):
    """The system has been stopped, or is stopping."""


class ForkedSystem(ActorError):
    """The system belongs to the process that started it, and this is a forked child of that process."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"system {name!r} was started by process {os.getppid()} or an older one, and can't be used in its fork {os.getpid()}:"
            " its threads did not come along; start a system after the fork"
        )
