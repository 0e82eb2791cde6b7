"""Checks that many definitions share: ints, numbers and text, with one form of message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowstone.errors import ValidationError, shown

__all__ = ["check_int", "check_text_mapping"]


def check_int(what: str, given: Any, *, minimum: int | None = None) -> int:
    """The value, when it is an int (a bool is none) and not below the minimum.

    Raises:
        ValidationError: it is not.

    >>> check_int("limit", 3, minimum=1)
    3
    """
    if isinstance(given, bool) or not isinstance(given, int) or (minimum is not None and given < minimum):
        at_least = "" if minimum is None else f" of at least {minimum}"
        raise ValidationError(f"expected {what} to be an int{at_least}, got: {shown(given)}")
    return given


def check_text_mapping(what: str, given: Any) -> dict[str, str]:
    """A copy of the value, when it is a mapping of text to text.

    Raises:
        ValidationError: it is not.
    """
    if not isinstance(given, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in given.items()):
        raise ValidationError(f"expected {what} to be a mapping of text to text, got: {shown(given)}")
    return dict(given)
