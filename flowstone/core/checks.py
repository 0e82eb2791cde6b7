"""Checks that many definitions share: ints, numbers and text, with one form of message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flowstone.errors import ValidationError, shown

__all__ = ["check_bool", "check_int", "check_status", "check_text_mapping"]

WIDEST = 2**63 - 1
"""What a column of a store holds, in both directions."""


def check_bool(what: str, given: Any) -> bool:
    """The value, when it is True or False: "no" is neither.

    Raises:
        ValidationError: it is not.
    """
    if not isinstance(given, bool):
        raise ValidationError(f"expected {what} to be True or False, got: {shown(given)}")
    return given


def check_status(given: Any, known: Iterable[str]) -> str | None:
    """The value, when it is one of these states, or None for any.

    Raises:
        ValidationError: it is not.
    """
    states = [str(each) for each in known]
    if given is not None and given not in states:
        raise ValidationError(f"expected status to be one of {', '.join(states)}, got: {shown(given)}")
    return None if given is None else str(given)


def check_int(what: str, given: Any, *, minimum: int | None = None) -> int:
    """The value, when it is an int (a bool is none) of up to 64 bits, and not below the minimum.

    Raises:
        ValidationError: it is not.

    >>> check_int("limit", 3, minimum=1)
    3
    """
    if isinstance(given, bool) or not isinstance(given, int) or (minimum is not None and given < minimum):
        at_least = "" if minimum is None else f" of at least {minimum}"
        raise ValidationError(f"expected {what} to be an int{at_least}, got: {shown(given)}")
    if abs(given) > WIDEST:
        raise ValidationError(f"expected {what} to be an int of up to 64 bits, got: {shown(given)}")
    return given


def check_text_mapping(what: str, given: Any) -> dict[str, str]:
    """A copy of the value, when it is a mapping of text to text.

    Raises:
        ValidationError: it is not.
    """
    if not isinstance(given, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in given.items()):
        raise ValidationError(f"expected {what} to be a mapping of text to text, got: {shown(given)}")
    return dict(given)
