"""Pure rules of supervision: who is restarted, and with whom.

Sources: OTP's supervisor, sections "Supervision Principles" and "Restart type".
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.messages import is_normal
from actors.spec import AutoShutdown, Restart, Strategy

__all__ = ["affected", "shuts_down", "will_restart"]


def will_restart(restart: Restart, reason: object) -> bool:
    """Tell whether a child that ended with `reason` is started again.

    >>> will_restart(Restart.TRANSIENT, "normal"), will_restart(Restart.TRANSIENT, ValueError())
    (False, True)
    """
    if restart is Restart.TRANSIENT:
        return not is_normal(reason)
    return restart is Restart.PERMANENT


def affected(strategy: Strategy, ids: Sequence[str], failed: str) -> tuple[str, ...]:
    """Return the ids, in start order, that are stopped (in reverse) and started again when `failed` crashes.

    >>> affected(Strategy.REST_FOR_ONE, ["a", "b", "c"], "b")
    ('b', 'c')
    """
    if strategy is Strategy.ONE_FOR_ONE:
        return (failed,)
    if strategy is Strategy.ONE_FOR_ALL:
        return tuple(ids)
    return tuple(ids[ids.index(failed):])


def shuts_down(mode: AutoShutdown, *, significant: bool, others_active: bool) -> bool:
    """Tell whether a supervisor ends when a child has ended by itself for good.

    `others_active`: another significant child still runs or is being restarted.
    """
    if not significant or mode is AutoShutdown.NEVER:
        return False
    return mode is AutoShutdown.ANY_SIGNIFICANT or not others_active
