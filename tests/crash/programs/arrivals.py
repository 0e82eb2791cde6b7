"""A service that makes one partition of each file that arrives, until it is killed.

usage: arrivals.py URL FOLDER CALLS [hold]. Each call of the asset's function adds a line to CALLS before it does
anything; with `hold` it then says so and goes no further.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import flowstone as fs
from flowstone.io import FilesIO
from flowstone.sensors import FileArrival

url, folder, calls, *hold = sys.argv[1:]
shop = fs.Pipeline("shop")


@shop.asset(io_manager="files")
def order(context: Any) -> str:
    """The content of one file."""
    line = f"{context.partition} {context.run_id} {context.attempt}\n".encode()
    descriptor = os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)
    if hold:
        os.write(1, b"in progress\n")  # whole, whatever other threads print
    # Long enough for kills to find calls in progress.
    threading.Event().wait(60 if hold else 0.03)
    return Path(folder, context.partition).read_text()


arrivals = FileArrival(path=folder, pattern="*.txt", partition=lambda path: path)
shop.sensor("arrivals", arrivals, every="20ms", target="order")

values = {"files": FilesIO(Path(f"{calls}.values"))}

with fs.Runtime(shop, store=url, io_managers=values, io_manager="files") as runtime:
    print("serving", flush=True)
    for _request in sys.stdin:
        runtime.sensors.poll("arrivals")
        runtime.drain()
        print("drained", flush=True)
