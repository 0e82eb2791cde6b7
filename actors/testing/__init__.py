"""The kit for testing actors: a clock that tests own, probes, faults, and the contract that every backend keeps.

Nothing in it sleeps: `ManualClock.advance` returns when everything that became due has been done.
"""

from actors.testing.faults import cast_and_sync, crash, delay_next, drop_next, failing_init
from actors.testing.manual_clock import ManualClock
from actors.testing.probe import Probe, assert_actor_state

__all__ = [
    "ManualClock",
    "Probe",
    "assert_actor_state",
    "cast_and_sync",
    "crash",
    "delay_next",
    "drop_next",
    "failing_init",
]
