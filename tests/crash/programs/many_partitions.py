"""A backfill of many partitions, of which some fail: started once, and gone on with by each life.

usage: many_partitions.py URL FOLDER NUMBER. It prints how many partitions are settled, each time that
it hears of more. Each call adds a line to `calls` before it does anything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import flowstone as fs
from flowstone.io import FilesIO

url, folder, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
calls = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
shop = fs.Pipeline("shop")


@shop.asset
def each(context: Any) -> int:
    """One partition; each fiftieth fails."""
    os.write(calls, f"{context.partition} {context.run_id}\n".encode())
    if context.partition % 50 == 0:
        raise ValueError(f"{context.partition} is bad")
    return int(context.partition)


def told(row: Any) -> None:
    """Say how far it is."""
    os.write(1, f"{row.done}\n".encode())


with fs.Runtime(shop, store=url, io_managers={"files": FilesIO(folder / "values")}, io_manager="files") as runtime:
    runtime.backfill("each", partitions=range(number), max_parallel=8, id="many", progress=told)
