"""An asset that fails at first: its retry policy tries again, a manual clock makes the waiting pass at once.

Run it: python examples/retries.py
"""

from datetime import UTC, datetime

import flowstone as fs
from actors.testing import ManualClock

flaky = fs.Pipeline("flaky")


@flaky.asset(retry=fs.RetryPolicy(max_attempts=3, base="10s"))
def answer(context):
    """Fails twice, then gives a value."""
    if context.attempt < 3:
        raise ConnectionError(f"attempt {context.attempt} found nobody there")
    return f"attempt {context.attempt} succeeded"


if __name__ == "__main__":
    clock = ManualClock(datetime(2025, 1, 15, tzinfo=UTC))
    with fs.Runtime(flaky, store="memory://", clock=clock) as runtime:
        handle = runtime.materialize_async("answer")
        clock.advance("5m")
        record = handle.result(timeout=10)
        print(record.status, "after", record.attempt, "attempts:", record.value)
