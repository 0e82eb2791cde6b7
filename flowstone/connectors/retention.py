"""What of the events may be pruned: those that nobody waits for any more."""

from flowstone.state.retention import Rows

__all__ = ["EVENTS", "EVENT_ATTEMPTS"]

_OPEN = "exists (select 1 from dead_letter d where d.id = t.event_id)"
_UNSETTLED = """not exists (
    select 1 from event_attempt a where a.event_id = t.event_id and a.result in ('handled', 'missed', 'dead')
)"""

EVENT_ATTEMPTS = Rows(what="attempts at events", table="event_attempt", moment="at", spare=_OPEN)
"""What came of handing events to their handlers."""

EVENTS = Rows(what="events", table="event_log", moment="at", spare=f"{_OPEN} or {_UNSETTLED}")
"""Events of the log; one that is still in the queue stays."""
