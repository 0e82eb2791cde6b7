"""Fail points: named moments between two durable steps, at which a test lets the process die.

A process that was started with `FLOWSTONE_FAIL_POINT="run.after_value_stored"` ends at that moment as if somebody had
killed it, with `":3"` behind the name when it comes there the third time. Nothing is closed, told or put back: what
is true afterwards is what the store says. Without the variable a fail point costs one comparison.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Mapping
from types import MappingProxyType

from flowstone.errors import ConfigError, did_you_mean, shown

__all__ = ["FAIL_POINTS", "VARIABLE", "arm", "failpoint"]

VARIABLE = "FLOWSTONE_FAIL_POINT"
"""The environment variable that names where the process dies: `name` or `name:nth`."""

FAIL_POINTS: Mapping[str, str] = MappingProxyType(
    {
        "migration.before_commit": "a step of the tables was applied, and is not committed",
        "migration.after_commit": "a step of the tables was committed, the next one not begun",
        "writer.before_commit": "transactions wrote their rows, and are not committed",
        "writer.after_commit": "transactions were committed, and nobody was told",
        "writer.after_acknowledgement": "one of those who wait for a commit was told, others perhaps not",
        "start.after_put_back": "the runs of the boot before were put back, the definitions not written",
        "start.after_register": "the definitions were written, no actor started",
        "stop.after_put_back": "what still ran was put back, the store not closed",
        "put_back.before_commit": "an interrupted run was put back, and that is not committed",
        "put_back.after_commit": "a run whose actor is gone was put back, and nobody was told",
        "put_back.after_release": "a call that outlived its attempt gave its partition back, nobody was told",
        "tick.after_decision": "it was decided which ticks fire, nothing written",
        "tick.after_rule": "a user's rule gave a tick's partition, nothing written",
        "tick.before_commit": "ticks and their runs were written, and are not committed",
        "tick.after_commit": "ticks were committed, nobody was told of their runs",
        "tick.after_wake": "the dispatcher was told of the runs of ticks, the next instant is not armed",
        "sensor.after_first_cursor": "a sensor's first cursor was committed, it was never polled",
        "poll.before_call": "it is settled from where a sensor is polled, its code not called",
        "poll.after_call": "a sensor has answered, nothing written",
        "poll.before_commit": "an evaluation and its runs were written, and are not committed",
        "poll.after_commit": "an evaluation was committed, nobody was told",
        "poll.after_announcement": "the others were told of an evaluation, the next poll is not armed",
        "push.after_call": "a push sensor has answered, nothing written",
        "push.before_commit": "a push and its runs were written, and are not committed",
        "push.after_commit": "a push was committed, nobody was told",
        "push.after_announcement": "the others were told of a push, not the one who pushed",
        "delivery.before_call": "a delivery is due, its callback not called",
        "delivery.after_call": "a callback has returned, that is not written",
        "delivery.before_commit": "it is written that a callback returned, and not committed",
        "delivery.after_commit": "it is committed that a callback returned, the next delivery not begun",
        "run.after_request": "a run was asked for and committed, who asked was not told",
        "run.before_claim": "runs were claimed, and that is not committed",
        "run.after_claim": "runs were claimed, none was begun",
        "run.before_call": "an attempt began, the asset's function was not called",
        "run.after_call": "an asset's function returned, its value is not stored",
        "run.before_value_named": "a value is in a part file, and has no name",
        "run.after_value_named": "a value has its name, the folder is not synced",
        "run.after_value_stored": "a value was stored, the attempt is not settled",
        "run.before_settle": "what became of an attempt was written, and is not committed",
        "run.after_settle": "what became of an attempt was committed, the run's actor was not told",
        "run.before_repeat": "the pause after a failed attempt is over, the next one not begun",
        "lineage.before_commit": "it was written what a value was made from, and is not committed",
        "approval.after_request": "an asset has asked people, nobody was told",
        "approval.before_decision": "what people decided was written, and is not committed",
        "approval.after_decision": "what people decided was committed, nobody was told",
        "approval.before_deadline": "what a deadline decided was written, and is not committed",
        "approval.after_deadline": "what a deadline decided was committed, nobody was told",
        "backfill.before_start": "a backfill and its partitions were written, and are not committed",
        "backfill.after_start": "a backfill was committed, nobody was told",
        "backfill.before_step": "the next runs of a backfill were asked for, and that is not committed",
        "backfill.after_step": "the next runs of a backfill were committed, nobody was told",
        "backfill.before_decision": "what people decided over a backfill was written, and is not committed",
        "backfill.after_decision": "what people decided over a backfill was committed, nobody was told",
        "event.after_read": "events were taken out of the queue for a while, no handler was called",
        "event.before_call": "an event is in hand, its handler not called",
        "event.after_call": "a handler has returned, nothing written",
        "event.after_write": "a handler has written in the transaction of its event, which is not committed",
        "event.before_commit": "an event and all that comes of it were written, and are not committed",
        "event.after_own_commit": "a handler's own transaction was committed, the router was not told",
        "event.after_commit": "what became of an event was committed, nobody was told",
        "task.before_commit": "the events of a scheduled task were written, and are not committed",
        "task.after_commit": "the events of a scheduled task were committed, the router was not told",
        "run.after_end": "a run has ended, who waits for it was not told",
    }
)
"""All fail points, and what is done and not done where each stands."""

_NTH = re.compile(r"[1-9]\d{0,8}", re.ASCII)


class _Armed:
    """Where the process dies, and how often it may pass there before."""

    def __init__(self, name: str, nth: int) -> None:
        self.name = name
        self._nth = nth
        self._passes = itertools.count(1)

    def passed(self, name: str) -> None:
        if name == self.name and next(self._passes) == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)


def _read(text: str | None) -> _Armed | None:
    if not text:
        return None
    name, _, nth = text.partition(":")
    if name not in FAIL_POINTS:
        hint = did_you_mean(name, FAIL_POINTS)
        raise ConfigError(f"expected {VARIABLE} to name a fail point, got: {shown(name)}{hint}")
    if not _NTH.fullmatch(nth or "1"):
        raise ConfigError(f"expected {VARIABLE} to be name:nth with nth from 1 up, got: {shown(text)}")
    return _Armed(name, int(nth or 1))


_armed = _read(os.environ.get(VARIABLE))


def arm(text: str | None) -> None:
    """Die at the fail point that `text` names, as the environment variable would; None or "" disarms.

    For processes that fork after they have imported all that they need.

    Raises:
        ConfigError: there is no such fail point, or the number is none.
    """
    global _armed
    _armed = _read(text)


def failpoint(name: str) -> None:
    """Die here, if this is where the process is to die."""
    if _armed is not None:
        _armed.passed(name)
