"""When a sensor is polled next: on its interval, and after failures ever later. Seconds everywhere."""

import hashlib
import math

__all__ = ["CAP", "backoff", "regular", "spread"]

CAP = 900.0
"""The longest wait after failures, and the pace of a broken sensor, before the spread is added."""

_SPREAD = 0.1
_HAIR = 0.01
_MOST_DOUBLINGS = 64


def backoff(sensor: str, failures: int, interval: float, *, broken: bool = False) -> float:
    """The wait after the given number of failures in a row: `min(CAP, interval * 2^(failures-1))`, spread.

    A broken sensor waits the cap.

    >>> [round(backoff("s", n, 30.0) / (30.0 * 2 ** (n - 1)), 1) >= 1.0 for n in (1, 2, 3)]
    [True, True, True]
    """
    doublings = min(max(failures, 1) - 1, _MOST_DOUBLINGS)
    wait = CAP if broken else min(CAP, interval * 2.0**doublings)
    return spread(sensor, failures, wait)


def spread(sensor: str, failures: int, wait: float) -> float:
    """`wait` and 0-10 % of it: a hash of the sensor and its failures, so that sensors that fail together part."""
    digest = hashlib.sha256(f"{sensor}:{failures}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return wait * (1.0 + _SPREAD * share)


def regular(due: float, interval: float, now: float) -> float:
    """The first instant after `now` on the grid of `interval` through `due`; all monotonic.

    Instants of the grid that have passed fall together into one. An instant that `now` misses by a hair has passed: a
    timer armed for it may fire a rounding error early, and would poll twice.

    >>> regular(10.0, 5.0, 10.0), regular(10.0, 5.0, 21.0), regular(10.0, 5.0, 14.9999)
    (15.0, 25.0, 20.0)
    """
    steps = math.floor((now - due) / interval + _HAIR) + 1
    return due + max(steps, 0) * interval
