"""A month made afterwards, four days at a time: two days fail, the others don't notice, and are not made again.

Run it: python examples/backfill_a_month.py
"""

import flowstone as fs

archive = fs.Pipeline("archive")
broken = {10, 20}


@archive.asset(partitions=fs.Daily(start="2024-01-01"))
def raw(context):
    """One day of the archive."""
    if context.partition.day in broken:
        raise ValueError(f"the file of {context.partition} is damaged")
    return context.partition.day


@archive.asset
def summary(context, raw):
    """What is known of a day."""
    return f"{context.partition}: {raw}"


if __name__ == "__main__":
    with fs.Runtime(archive, store="memory://") as runtime:
        first = runtime.backfill("+summary", partitions="2024-01-01..2024-01-31", max_parallel=4)
        print(first)
        for lost in runtime.backfills.partitions(first.id, status="failed"):
            print("  failed:", lost.partition, lost.error)
        broken.clear()
        runtime.backfills.retry_failed(first.id)
        print(runtime.backfills.wait(first.id, timeout=30))
        print(runtime.backfill("+summary", partitions="2024-01-30..2024-02-02"))
