"""A service that makes one partition of each thing that arrives at its built-in sensors, killed again and again.

usage: sensors.py TOLD, which is JSON: `store`, `folder`, `page`, `aws` (options of boto3's clients), `listed` and
`told` (buckets), `queue`, `shop` (a database). It reads orders from its standard input and answers on its output:

    life          fork a life: `born PID`, `serving URL` when messages can be pushed, and at last `ended STATUS`
    life hold     one whose assets say `in progress NAME` and go no further
    life NAME     one that is killed when this sensor has something in hand, before anything of that is written
    drain         in a life: poll each sensor, and finish all runs: `drained`
    stop          in a life: stop

Each call of an asset's function adds a line to `calls` before it does anything.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import gevent  # noqa: F401 - imported once, not in each life
import playhouse.db_url  # noqa: F401 - as above

import flowstone as fs
from flowstone.io import FilesIO
from flowstone.sensors import AssetUpdated, DatabaseChange, Push, S3FileArrival, Token, Webhook
from flowstone.web import Server, create_app

# A life that hangs is aborted, and says where it hung.
faulthandler.enable()
told = json.loads(sys.argv[1])
folder = Path(told["folder"])
if told["store"].startswith("postgresql:"):
    import flowstone.state.postgres  # noqa: F401 - as above
orders = open(0, "rb", buffering=0, closefd=False)  # reads no further than the line that is asked for
shop = fs.Pipeline("shop")
hold = threading.Event()
deadly = {"sensor": ""}


def tell(text: str) -> None:
    """Answer with one line, whole or not at all."""
    os.write(1, f"{text}\n".encode())


def taking(name: str) -> Callable[[Any], str]:
    """The function of an asset."""

    def take(context: Any) -> str:
        descriptor = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{name} {context.run_id} {context.attempt}\n".encode())
        os.close(descriptor)
        if hold.is_set():
            tell(f"in progress {name}")
        # Long enough for kills to find calls in progress.
        threading.Event().wait(60 if hold.is_set() else 0.03)
        return str(context.partition)

    return take


def named(name: str, partition: Callable[[Any], str]) -> Callable[[Any], str]:
    """The function of a sensor that names the partition of what it has in hand."""

    def of(thing: Any) -> str:
        if deadly["sensor"] == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return partition(thing)

    return of


s3, sqs = (boto3.client(service, **told["aws"]) for service in ("s3", "sqs"))
listed = S3FileArrival(bucket=told["listed"], client=s3, partition=named("listed", str))
queued = {"queue_url": told["queue"], "queue_client": sqs}
noticed = S3FileArrival(bucket=told["told"], partition=named("told", str), **queued)
table = {"url": told["shop"], "table": "shop_orders", "high_water": "at", "lookback": 30}
rows = DatabaseChange(partition=named("rows", lambda row: f"row-{row['at']}"), **table)
page = Webhook(url=told["page"], partition=named("page", lambda body: str(body["n"])))
pushed = Push(auth=Token("key"), partition=named("pushed", lambda message: str(message["n"])))
followed = AssetUpdated(asset="listed", partition=named("followed", str))
SENSORS = {"listed": listed, "told": noticed, "rows": rows, "page": page, "pushed": pushed, "followed": followed}

for name, sensor in SENSORS.items():
    shop.asset(taking(name), name=name, io_manager="files")
    pace = {} if name == "pushed" else {"every": "50ms"}
    shop.sensor(name, sensor, target=name, **pace)

values = {"files": FilesIO(folder / "values")}
runtime = fs.Runtime(shop, store=told["store"], io_managers=values, io_manager="files", max_concurrency=20)


def serve() -> None:
    """One life, to its end."""
    with runtime:
        server = Server(create_app(runtime), port=0, threads=4)
        server.start()
        tell(f"serving {server.url}")
        for order in orders:
            if order == b"stop\n":
                break
            # What is made in the first round is seen in the second one by the sensor that follows.
            for name in [*SENSORS] * 2:
                runtime.sensors.poll(name)
                runtime.drain()
            tell("drained")
        server.close()


for line in orders:
    if line.startswith(b"life"):
        pid = os.fork()
        if not pid:
            _, _, kind = line.decode().strip().partition(" ")
            deadly["sensor"] = kind
            if kind == "hold":
                hold.set()
            serve()
            os._exit(0)
        tell(f"born {pid}")
        tell(f"ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
