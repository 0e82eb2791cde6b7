"""A connector that is triggered each minute by a task which the store keeps, and whose signal makes an asset.

Run it: python examples/heartbeat.py. The clock is a manual one, so that five minutes pass at once.
"""

from __future__ import annotations

from datetime import UTC, datetime

import flowstone as fs
from actors.testing import ManualClock

shop = fs.Pipeline("shop")


@shop.asset
def pulse(context):
    """The beat that the signal carried."""
    return context.trigger.payload["beat"]


DEFINITION = {
    "id": "heartbeat",
    "type": "connector",
    "config": {
        "subtype": "scheduled",
        "scheduledTask": {
            "name": "periodic-heartbeat-connector",
            "cronExpression": "*/1 * * * *",
            "signalEventType": "signal.periodic.heartbeat",
            "signalPayload": {"beat": "lub-dub"},
        },
    },
}


def on_heartbeat(event, context):
    """Make the asset; the run's key is the event's id, so one event is one run."""
    print(f"signal {event.payload} of {event.id}")
    context.materialize("pulse")


def main():
    """Five minutes of heartbeats."""
    clock = ManualClock(datetime(2025, 1, 15, 12, tzinfo=UTC))
    runtime = fs.Runtime(shop, store="memory://", clock=clock)
    runtime.connectors.on_event("signal.periodic.heartbeat", on_heartbeat)
    with runtime:
        runtime.connectors.load(DEFINITION)
        for _minute in range(5):
            clock.advance("1m")
            runtime.drain(timeout=10)
        runs = runtime.runs.list(status="success")
        print(f"{len(runs)} runs, the last one made {runtime.get('pulse')!r}")
        fired = runtime.connectors.events(task="periodic-heartbeat-connector")
        print(f"{len(fired)} events of the task, all {', '.join(sorted({row.result for row in fired}))}")


if __name__ == "__main__":
    main()
