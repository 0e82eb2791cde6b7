"""Files arrive in a folder; each day's file becomes an asset's value, and a total over the days follows.

Run it: python examples/files_to_totals.py
"""

import tempfile
from pathlib import Path

import flowstone as fs
from flowstone.sensors import FileArrival

scratch = tempfile.TemporaryDirectory(prefix="files-to-totals-")
inbox = Path(scratch.name, "inbox")
inbox.mkdir()

sales = fs.Pipeline("sales")


@sales.asset(partitions=fs.Daily(start="2025-01-01"))
def day(context):
    """The amounts of one day, one a line."""
    lines = (inbox / f"{context.partition}.txt").read_text().split()
    return [float(line) for line in lines]


@sales.asset(partitions=fs.Daily(start="2025-01-01"))
def total(context, day):
    """What one day came to."""
    return sum(day)


sales.sensor("inbox", FileArrival(path=inbox, pattern="*.txt"), every="30s", target="+total")

if __name__ == "__main__":
    with scratch, fs.Runtime(sales, store=f"sqlite:///{scratch.name}/sales.db") as runtime:
        for name, amounts in {"2025-01-15": "3.50 4.25", "2025-01-16": "10"}.items():
            (inbox / f"{name}.txt").write_text(amounts)
        evaluation = runtime.sensors.poll("inbox")
        runtime.drain()
        print(f"{evaluation.status}: {evaluation.request_count} runs")
        for partition in ("2025-01-15", "2025-01-16"):
            print(partition, runtime.get("total", partition=partition))
