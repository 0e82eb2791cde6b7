"""What of a sensor's history may be pruned."""

from flowstone.state.retention import Rows

__all__ = ["DELIVERIES", "EVALUATIONS"]

_LATER_OF_KEY = "select 1 from evaluation o where o.eval_key = t.eval_key and o.id > t.id"
_LATER_POLL = """
    select 1 from evaluation o where o.sensor = t.sensor and o.id > t.id and o.trigger <> 'push'
    and o.status in ('triggered', 'no_trigger')
"""
_SHORT_MEMORY = "select 1 from sensor s where s.name = t.sensor and s.dedupe like 'window:%'"
_UNFINISHED = """
    select 1 from run r where r.source_kind = 'sensor' and r.source_name = t.sensor
    and r.evaluation_id = t.eval_id and r.completed_at is null
"""
_UNDELIVERED = """
    select 1 from outbox d where d.status <> 'delivered' and d.sensor = t.sensor and d.eval_id = t.eval_id
"""

EVALUATIONS = Rows(
    what="evaluations",
    table="evaluation",
    moment="at",
    # An id is made of the key and the number of its earlier rows: the newest one of a key goes first, so that the next
    # one never gets the id of one that is still there.
    spare=f"""
        exists ({_LATER_OF_KEY})
        or t.status in ('triggered', 'no_trigger') and t.trigger = 'push'
            and not (t.at < :windows and exists ({_SHORT_MEMORY}))
        or t.status in ('triggered', 'no_trigger') and t.trigger <> 'push' and not exists ({_LATER_POLL})
        or exists ({_UNFINISHED})
        or exists ({_UNDELIVERED})
    """,
)
"""Evaluations, except pushes whose message ids are still known, each sensor's poll that left the cursor, and those with
a run or a delivery that is not finished."""

DELIVERIES = Rows(what="deliveries", table="outbox", moment="delivered_at", spare="t.status <> 'delivered'")
"""Deliveries that were made; those that are parked stay until somebody has seen to them."""
