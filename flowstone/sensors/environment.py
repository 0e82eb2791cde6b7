"""Secrets from the environment: `${NAME}` in an option stands for a variable, read when it is used."""

from __future__ import annotations

import os
import re
from typing import Any

from flowstone.sensors.sensor import PollError

__all__ = ["expanded"]

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expanded(value: Any) -> Any:
    """The value with what its texts name in the environment; mappings and lists are gone through.

    Raises:
        PollError: a variable is not set; the code is `no_secret`.

    >>> os.environ["GREETING"] = "hello"
    >>> expanded({"text": "${GREETING}, world"})
    {'text': 'hello, world'}
    """
    if isinstance(value, str):
        return _NAME.sub(_read, value)
    if isinstance(value, dict):
        return {key: expanded(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [expanded(held) for held in value]
    return value


def _read(found: re.Match[str]) -> str:
    value = os.environ.get(found[1])
    if value is None:
        raise PollError(f"the environment variable {found[1]} is not set", code="no_secret")
    return value
