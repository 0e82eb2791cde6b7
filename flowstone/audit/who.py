"""Who acts, also when nobody is named, and why."""

import getpass
from collections.abc import Callable
from functools import lru_cache

from flowstone.errors import ValidationError, shown, storable

__all__ = ["because", "who"]


def who(by: object) -> str:
    """The one who is named, else the user of the operating system; `unknown` when that has no name.

    Raises:
        ValidationError: `by` is given and no text, or empty.

    >>> who("ada")
    'ada'
    """
    if by is None:
        return storable(_name(getpass.getuser))
    if not isinstance(by, str) or not by.strip():
        raise ValidationError(f"expected by to name a person or a program, got: {shown(by)}", option="by")
    return storable(by)


def because(reason: object) -> str | None:
    """Why somebody acts, in words that every store can hold; None when they do not say.

    Raises:
        ValidationError: the reason is given and no text.
    """
    if reason is not None and not isinstance(reason, str):
        raise ValidationError(f"expected reason to be a text, got: {shown(reason)}", option="reason")
    return None if reason is None else storable(reason)


@lru_cache(maxsize=1)
def _name(ask: Callable[[], str]) -> str:
    # Asked once: the names of users may come from a service on the network.
    try:
        return ask()
    except (KeyError, OSError):
        return "unknown"
