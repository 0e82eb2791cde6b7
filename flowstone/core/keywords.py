"""Unknown keywords, refused with the name that was probably meant."""

import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from flowstone.errors import ValidationError, did_you_mean

__all__ = ["check_keywords", "checked_keywords"]

T = TypeVar("T")

_FOREIGN = {
    "check_fn": "check",
    "cron_expression": "cron",
    "partition_fn": "partition",
    "poll_interval": "every",
    "repo": "url",
}


def check_keywords(where: str, given: Mapping[str, object], allowed: Iterable[str]) -> None:
    """Nothing, when every given keyword is allowed; `where` names what was called.

    Raises:
        ValidationError: some are not; each is named with what was probably meant.

    >>> check_keywords("schedule", {"cron": "@daily"}, ["cron", "every"])
    >>> check_keywords("schedule", {"cron_expression": "@daily"}, ["cron", "every"])
    Traceback (most recent call last):
    flowstone.errors.ValidationError: schedule does not take 'cron_expression'; did you mean 'cron'?
    """
    known = list(allowed)
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    complaints = [f"{where} does not take {name!r}{_hint(name, known)}" for name in unknown]
    raise ValidationError("\n".join(complaints), unknown=unknown, allowed=known)


def checked_keywords(cls: type[T]) -> type[T]:
    """A class decorator: the constructor refuses unknown keywords as `check_keywords` does, in place of a TypeError.

    >>> @checked_keywords
    ... class Point:
    ...     def __init__(self, *, across=0): ...
    >>> Point(acros=1)
    Traceback (most recent call last):
    flowstone.errors.ValidationError: Point does not take 'acros'; did you mean 'across'?
    """
    construct: Any = cls.__init__
    allowed = [name for name in inspect.signature(construct).parameters if name != "self"]

    @functools.wraps(construct)
    def checking(self: T, *args: Any, **keywords: Any) -> None:
        check_keywords(cls.__name__, keywords, allowed)
        construct(self, *args, **keywords)

    setattr(cls, "__init__", checking)  # noqa: B010 (an assignment to a method is refused by mypy)
    return cls


def _hint(name: str, known: list[str]) -> str:
    meant = _FOREIGN.get(name)
    if meant in known:
        return f"; did you mean {meant!r}?"
    if name == "module":
        return "; give the sensor value itself, as in FileArrival(path=...)"
    return did_you_mean(name, known) or f"; it takes: {', '.join(known) or 'no keywords'}"
