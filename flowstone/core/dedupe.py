"""Dedupe scopes: for how long a run key stands for the run that took it (semantics 6)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from flowstone import durations
from flowstone.core.run import RunStatus
from flowstone.errors import ValidationError, shown

__all__ = ["FOREVER", "Dedupe", "DedupeMode"]

_EXPECTED = "'forever', 'until_success' or 'window:' and a duration, as 'window:1d'"


class DedupeMode(enum.StrEnum):
    """What frees a run key."""

    FOREVER = "forever"
    UNTIL_SUCCESS = "until_success"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Dedupe:
    """The scope within which a request is taken for the one that had its key before; `window` is in seconds.

    >>> str(Dedupe.read("window:24h")), Dedupe.read("until_success").mode.value
    ('window:1d', 'until_success')
    """

    mode: DedupeMode = DedupeMode.FOREVER
    window: float = 0.0

    @classmethod
    def read(cls, value: object) -> Dedupe:
        """The scope that a text stands for; a scope is itself.

        Raises:
            ValidationError: it is neither, or its window is no duration of at least a millisecond.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValidationError(f"expected dedupe to be {_EXPECTED}, got: {shown(value)}", option="dedupe")
        return _read(value)

    def frees(self, status: RunStatus, requested_at: datetime, now: datetime) -> bool:
        """Whether a key is free again at `now`, that a run of this status took at `requested_at`."""
        if self.mode is DedupeMode.UNTIL_SUCCESS:
            return status is RunStatus.FAILED
        return self.mode is DedupeMode.WINDOW and (now - requested_at).total_seconds() > self.window

    def __str__(self) -> str:
        return f"{self.mode}:{durations.text(self.window)}" if self.mode is DedupeMode.WINDOW else self.mode.value


@lru_cache(maxsize=1024)
def _read(text: str) -> Dedupe:
    mode, colon, window = text.partition(":")
    if mode == DedupeMode.WINDOW and colon:
        return Dedupe(DedupeMode.WINDOW, durations.seconds(window, "the window of dedupe", minimum=0.001))
    if mode in (DedupeMode.FOREVER, DedupeMode.UNTIL_SUCCESS) and not colon:
        return Dedupe(DedupeMode(mode))
    raise ValidationError(f"expected dedupe to be {_EXPECTED}, got: {shown(text)}", option="dedupe")


FOREVER = Dedupe()
"""The key stands for its first run, whatever became of it."""
