"""What an incarnation does with signals and with messages that are not its actor's own, and who answers in the end.

Each function is one row of the tables at the end; `cell` is the incarnation in whose turn it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from pykka import messages as pykka_messages

from actors.events import ActorStarted, MessageLost
from actors.messages import (
    NORMAL,
    ChildExited,
    Crash,
    Describe,
    Down,
    DownFor,
    Exit,
    ExitSignal,
    Inspect,
    Link,
    Start,
    Stop,
    StopBy,
    Tick,
    Trace,
    Unlink,
    Unwatch,
    Watch,
)
from actors.report import masked

if TYPE_CHECKING:
    from actors.cell import Cell

__all__ = ["FORGIVING", "SIGNALS", "SPECIAL", "answer_for"]

QUIET = (Tick, DownFor)


def _start(cell: Cell, signal: Start) -> None:
    try:
        actor: Any = object.__new__(cell.cls)
        actor._cell = cell
        cell.actor = actor
        actor.__init__()
        actor.init(*cell.args, **cell.kwargs)
    except BaseException as error:  # noqa: B036 - whatever it was, it ends this actor alone
        cell.finish(error, terminate=False)
        signal.started.offer(None, error)
        return
    cell.status = "running"
    if cell.cls.supervises:
        cell.actor.settle_in()
    if cell.system.events.listeners:
        cell.system.events.emit(ActorStarted(cell._path, cell.cls.__name__))
    signal.started.offer(cell.slot.ref if cell.slot is not None else cell.ref)


def _stop(cell: Cell, signal: Stop | StopBy) -> None:
    cell.stopping = signal.reason


def _crash(cell: Cell, signal: Crash) -> None:
    cell.finish(signal.error)


def _watch(cell: Cell, signal: Watch) -> None:
    if cell.watchers is None:
        cell.watchers = {}
    cell.watchers[signal.token] = signal.sink


def _unwatch(cell: Cell, signal: Unwatch) -> None:
    if cell.watchers is not None:
        cell.watchers.pop(signal.token, None)


def _link(cell: Cell, signal: Link) -> None:
    if cell.links is None:
        cell.links = set()
    cell.links.add(signal.other)


def _unlink(cell: Cell, signal: Unlink) -> None:
    if cell.links is not None:
        cell.links.discard(signal.other)


def _exit(cell: Cell, signal: ExitSignal) -> None:
    if cell.links is None or signal.sender not in cell.links:
        return
    cell.links.discard(signal.sender)
    if cell.actor.trap_exit:
        cell.deliver((Exit(signal.sender.ref, signal.reason), None, None))
    elif signal.reason != NORMAL:
        cell.finish(signal.reason)


def _describe(cell: Cell, signal: Describe) -> None:
    signal.answer.offer(masked(cell.actor.describe()) if cell.actor is not None else {})


def _trace(cell: Cell, signal: Trace) -> None:
    cell.traced = signal.on


def _child_exited(cell: Cell, signal: ChildExited) -> None:
    cell.actor.child_exited(signal)


def _receive_tick(cell: Cell, message: Tick) -> Any:
    timer = message.timer
    if timer.delivered():
        cell.last = type(timer.message)
        cell.current = timer.message
        return cell.actor.receive(timer.message)
    return None


def _receive_down(cell: Cell, message: DownFor) -> Any:
    ref = cell.watching.pop(message.token, None) if cell.watching else None
    if ref is None:
        return None
    cell.last = Down
    cell.current = Down(ref, message.reason, message.token)
    return cell.actor.receive(cell.current)


def _receive_inspect(cell: Cell, message: Inspect) -> Any:
    return message.look(cell.actor.snapshot())


def _receive_stop(cell: Cell, message: Any) -> None:
    cell.stopping = message.reason if isinstance(message, Stop) else NORMAL
    if cell.in_hand is not None:
        cell.waiters = [*(cell.waiters or ()), cell.in_hand]
        cell.in_hand = None


def _reach(actor: Any, path: Sequence[str]) -> Any:
    """Return what pykka's attribute path leads to."""
    return reduce(getattr, path, actor)


def _receive_call(cell: Cell, message: pykka_messages.ProxyCall) -> Any:
    return _reach(cell.actor, message.attr_path)(*message.args, **message.kwargs)


def _receive_get(cell: Cell, message: pykka_messages.ProxyGetAttr) -> Any:
    return _reach(cell.actor, message.attr_path)


def _receive_set(cell: Cell, message: pykka_messages.ProxySetAttr) -> None:
    setattr(_reach(cell.actor, message.attr_path[:-1]), message.attr_path[-1], message.value)


def answer_for(cell: Cell, item: Any) -> None:
    """Answer an envelope or signal that the ended `cell` will not handle."""
    if type(item) is tuple:
        message, reply, _ = item
        if reply is not None:
            if type(message) is Stop:
                reply.offer(cell.stopping is not None)
            else:
                reply.offer(None, cell.dead_error())
        elif type(message) not in QUIET and cell.system.events.listeners:
            cell.system.events.emit(MessageLost(cell.path, type(message).__name__))
    elif type(item) is Watch:
        item.sink(cell.reason)
    elif type(item) is Link:
        item.other.send(ExitSignal(cell, cell.reason))
    elif type(item) is Describe:
        item.answer.offer(None, cell.dead_error())
    elif type(item) is Start:
        item.started.offer(None, cell.dead_error())


SIGNALS: dict[type[Any], Callable[[Cell, Any], None]] = {
    Start: _start,
    Stop: _stop,
    StopBy: _stop,
    Crash: _crash,
    Watch: _watch,
    Unwatch: _unwatch,
    Link: _link,
    Unlink: _unlink,
    ExitSignal: _exit,
    Describe: _describe,
    Trace: _trace,
    ChildExited: _child_exited,
}
SPECIAL: dict[type[Any], Callable[[Cell, Any], Any]] = {
    Tick: _receive_tick,
    DownFor: _receive_down,
    Inspect: _receive_inspect,
    Stop: _receive_stop,
    pykka_messages._ActorStop: _receive_stop,
    pykka_messages.ProxyCall: _receive_call,
    pykka_messages.ProxyGetAttr: _receive_get,
    pykka_messages.ProxySetAttr: _receive_set,
}
# pykka's rule for its proxies: the exception goes to the caller, and the actor lives.
FORGIVING = (Inspect, pykka_messages.ProxyCall, pykka_messages.ProxyGetAttr, pykka_messages.ProxySetAttr)
