"""Whether another process can get at a function: by the name of its module and its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["unreachable"]


def unreachable(fn: Callable[..., Any]) -> str | None:
    """Why no other process can import this function, as far as the function itself tells; None when it may.

    >>> unreachable(lambda context: 1)
    'it is a lambda, which has no name to import it by'
    >>> unreachable(unreachable) is None
    True
    """
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__qualname__", None)
    if name is None:
        return None
    if "<lambda>" in name.rpartition(".")[2]:
        return "it is a lambda, which has no name to import it by"
    if "<locals>" in name:
        return f"it is defined inside a function ({name}), where it can't be imported from"
    return None
