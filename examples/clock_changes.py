"""What a schedule does in the nights when the clocks change: a manual clock makes both nights pass at once.

Run it: python examples/clock_changes.py
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import flowstone as fs
from actors.testing import ManualClock

NEW_YORK = ZoneInfo("America/New_York")

nights = fs.Pipeline("nights")


@nights.asset
def backup(context):
    """A backup of a day."""
    return f"backup of {context.partition}"


nights.schedule("half_past_two", cron="30 2 * * *", timezone="America/New_York", target="backup")
nights.schedule("half_past_one", cron="30 1 * * *", timezone="America/New_York", target="backup", fold="both")
NOONS = {"spring": datetime(2025, 3, 8, 17, tzinfo=UTC), "autumn": datetime(2025, 11, 1, 16, tzinfo=UTC)}

if __name__ == "__main__":
    for title, noon in NOONS.items():
        clock = ManualClock(noon)
        with fs.Runtime(nights, store="memory://", clock=clock) as runtime:
            clock.advance("1d")
            print(f"{title}:")
            for name in ("half_past_one", "half_past_two"):
                instants = [tick.scheduled_for.astimezone(NEW_YORK) for tick in runtime.schedules.history(name)]
                print(f"  {name}:", ", ".join(f"{instant:%H:%M %Z}" for instant in reversed(instants)))
