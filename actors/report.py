"""Crash reports: what an ended actor was doing and knew, short and without secrets."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actors.events import ActorCrashed, ActorStopped
from actors.messages import is_normal

if TYPE_CHECKING:
    from actors.cell import Cell

__all__ = ["masked", "report_end", "shorten"]

logger = logging.getLogger("actors")

LONGEST_TEXT = 200
MOST_ITEMS = 20
DEEPEST = 3
MASK = "***"
_SECRET = re.compile(r"passw|secret|token|credential|api_?key|private|auth|cookie|session", re.IGNORECASE)
_IN_URL = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):[^\s@]*@")
_IN_TEXT = re.compile(
    r"((?:passw\w*|secret\w*|\w*token|api_?key)['\"]?\s*[=:]\s*)(['\"]?)[^\s,;'\"&)}\]]+", re.IGNORECASE
)


def masked(value: Any, *, depth: int = 0) -> Any:
    """Return `value` as plain texts, lists and dictionaries: long ones cut, what looks like a secret replaced by `***`.

    >>> masked({"user": "ann", "password": "hunter2", "url": "postgresql://ann:hunter2@db/x"})
    {'user': "'ann'", 'password': '***', 'url': "'postgresql://ann:***@db/x'"}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return {type(value).__name__: masked(fields, depth=depth + 1)}
    if isinstance(value, Mapping):
        if depth >= DEEPEST:
            return f"<{len(value)} items>"
        return {str(key): _field(str(key), item, depth) for key, item in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        if depth >= DEEPEST:
            return f"<{len(value)} items>"
        return [masked(item, depth=depth + 1) for item in list(value)[:MOST_ITEMS]]
    return shorten(value)


def shorten(value: Any) -> str:
    """Return the repr of `value`, cut and masked; never raises, since reports are made of things that just failed.

    >>> shorten("x" * 300)[-24:]
    'xxxx... (302 characters)'
    """
    try:
        text = repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    length = len(text)
    text = _IN_TEXT.sub(rf"\1\2{MASK}", _IN_URL.sub(rf"\1:{MASK}@", text[: 4 * LONGEST_TEXT]))
    return text if length <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}... ({length} characters)"


def report_end(cell: Cell) -> None:
    """Log and emit that `cell` has ended: a crash once, with its message and the actor's last state."""
    reason, events = cell.reason, cell.system.events
    if isinstance(reason, BaseException):
        state = _last_state(cell.actor)
        logger.error("%s crashed on %s with state %s", cell.path, shorten(cell.current), state, exc_info=reason)
    if not events.listeners:
        return
    if is_normal(reason):
        events.emit(ActorStopped(cell.path, reason))
    else:
        events.emit(ActorCrashed(cell.path, reason, cell.last.__name__ if cell.last is not None else None))


def _last_state(actor: Any) -> Any:
    try:
        return masked(actor.describe())
    except Exception as error:
        return f"<describe raised {type(error).__name__}>"


def _field(key: str, value: Any, depth: int) -> Any:
    return MASK if _SECRET.search(key) else masked(value, depth=depth + 1)
