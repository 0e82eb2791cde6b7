"""What of a schedule's history may be pruned."""

from flowstone.state.retention import Rows

__all__ = ["TICKS"]

TICKS = Rows(
    what="ticks",
    table="tick",
    moment="at",
    # A tick that a call made before its time is what keeps the timer from making it again.
    spare="""
        exists (select 1 from run r where r.run_id = t.run_id and r.completed_at is null)
        or exists (select 1 from schedule s where s.name = t.schedule and t.scheduled_for > s.accounted_until)
    """,
)
"""Ticks, except those ahead of their schedule's account, and those whose run is not finished."""
