"""Who acts, when nobody is named."""

import getpass
from collections.abc import Callable
from functools import lru_cache

from flowstone.errors import ValidationError, shown

__all__ = ["who"]


def who(by: object) -> str:
    """The one who is named, else the user of the operating system; `unknown` when that has no name.

    Raises:
        ValidationError: `by` is given and no text, or empty.

    >>> who("ada")
    'ada'
    """
    if by is None:
        return _name(getpass.getuser)
    if not isinstance(by, str) or not by.strip():
        raise ValidationError(f"expected by to name a person or a program, got: {shown(by)}", option="by")
    return by


@lru_cache(maxsize=1)
def _name(ask: Callable[[], str]) -> str:
    # Asked once: the names of users may come from a service on the network.
    try:
        return ask()
    except (KeyError, OSError):
        return "unknown"
