"""One of several runtimes on one PostgreSQL store; says `ready` when it runs, and obeys its standard input.

usage: node.py URL FOLDER

    health    `health`, then what it says of the nodes, on one line
    poll      poll the sensor `letters-0` by hand: `polled STATUS`
    end       stop in order

Each sensor finds as many letters as its file `letters-N` has bytes. Calls of functions and polls add a line to `calls`.
A call of `slow` returns when a byte comes through the pipe `gate-PID`.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import Any

import flowstone as fs
from flowstone.io import FilesIO
from flowstone.sensors import NoTrigger, Sensor, Trigger

SENSORS = 6

faulthandler.enable()
url, folder = sys.argv[1], Path(sys.argv[2])
shop = fs.Pipeline("shop")
os.mkfifo(folder / f"gate-{os.getpid()}")


def note(*words: object) -> None:
    """Add a line to the calls, whole or not at all."""
    descriptor = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{' '.join(map(str, (*words, os.getpid())))}\n".encode())
    os.close(descriptor)


@shop.asset
def pulse(context: Any) -> None:
    """What the schedule makes."""
    note("pulse", context.run_id)


@shop.asset
def letter(context: Any) -> None:
    """What the sensors ask for."""
    note("letter", context.run_id)


@shop.asset
def slow(context: Any) -> int:
    """What takes as long as the test likes; which process made it is its value."""
    note("slow", context.run_id)
    with open(folder / f"gate-{os.getpid()}", "rb", buffering=0) as gate:
        gate.read(1)
    return os.getpid()


class Letters(Sensor):
    """Finds what was appended to a file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def init(self) -> dict[str, int]:
        """Nothing was seen."""
        return {"seen": 0}

    def poll(self, state: dict[str, int]) -> Trigger | NoTrigger:
        """One partition for each byte that is new."""
        seen, there = state["seen"], (folder / self.name).stat().st_size
        if there == seen:
            return NoTrigger()
        note("poll", f"{self.name}:{seen}")
        return Trigger(*(f"{self.name}-{number}" for number in range(seen, there)), state={"seen": there})


shop.schedule("pulse", every="1s", misfire=fs.Misfire("all"), overlap="allow")
for number in range(SENSORS):
    shop.sensor(f"letters-{number}", Letters(f"letters-{number}"), every="50ms", target="letter")

with fs.Runtime(shop, store=url, io_managers={"files": FilesIO(folder / "values")}, io_manager="files") as runtime:
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "health\n":
            print("health", "; ".join(str(part) for part in runtime.health().parts if part.kind == "node"), flush=True)
        elif line == "poll\n":
            print("polled", runtime.sensors.poll("letters-0").status, flush=True)
        else:
            break
