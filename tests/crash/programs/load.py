"""A service under load that is killed again and again: a process that forks one life of it after the other.

usage: load.py URL FOLDER. It reads orders from its standard input and answers on its standard output:

    life POINT    fork a life, which dies at POINT, or nowhere when that is `-`: `born PID`, and at last `ended STATUS`
    push ID       in a life: push a message; `pushed ID` when it is acknowledged
    ask ID        in a life: ask for a run; `asked ID` when it is acknowledged
    fill ID       in a life: start a backfill, pause it and resume it; `filled ID` when that is acknowledged
    emit ID       in a life: emit an event; `emitted ID` when it is acknowledged
    stop          in a life: wait for a slow call, and stop without waiting for its end
    drain         in a life: finish everything, and stop

What is asked under an id that begins with `gate` waits for people, who approve at once; with `late`, for its deadline.
The sensor `items` finds as many items as the file `source` has bytes. Each call of a function adds a line to `calls`
before it does anything. What a life reads of its orders is never more than the line that it serves, so the next life
gets none of it, and what this one left over is nobody's: whoever gives orders repeats what was not acknowledged.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gevent  # noqa: F401 - imported once, not in each life

import flowstone as fs
from actors.testing import crash
from flowstone.connectors.events import QUEUE
from flowstone.connectors.task_clock import tasks_changed
from flowstone.failpoints import arm
from flowstone.io import FilesIO
from flowstone.sensors import Push, TriggerEvent

# A life that hangs is aborted, and says where it hung.
faulthandler.enable()
url, folder = sys.argv[1], Path(sys.argv[2])
if url.startswith("postgresql:"):
    import flowstone.state.postgres  # noqa: F401 - as above
orders = open(0, "rb", buffering=0, closefd=False)  # reads no further than the line that is asked for
shop = fs.Pipeline("shop")
runtime = fs.Runtime(shop, store=url, io_managers={"files": FilesIO(folder / "values")}, io_manager="files")
slow = threading.Event()

LONGEST_WAIT = 100
"""Looks, a hundredth of a second apart, for an attempt that follows another one."""


def tell(text: str) -> None:
    """Answer with one line, whole or not at all."""
    os.write(1, f"{text}\n".encode())


def note(*words: object) -> None:
    """Add a line to the calls, whole or not at all."""
    descriptor = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{' '.join(map(str, words))}\n".encode())
    os.close(descriptor)


def rest(seconds: float) -> None:
    """Take long enough for kills to find the call in progress."""
    threading.Event().wait(seconds)


@shop.asset(retry=fs.RetryPolicy(max_attempts=3, base=0.1, on=(ValueError,)))
def raw(context: Any) -> str:
    """One item as it came; what is asked for fails at first, some are slow, some crash their run's actor once."""
    note("raw", context.run_id, context.attempt)
    kind, number = context.partition.split("-")
    rest(0.01)
    if kind == "crash" and (folder / "calls").read_text().count(f"raw {context.run_id} ") == 1:
        crash(runtime.actor("services", "runs", "materializers", context.run_id))
        rest(0.05)
    elif kind == "slow":
        slow.set()
        rest(0.5)
    elif fails_at_first(kind, number) and context.attempt == 1:
        raise ValueError("not yet")
    return str(context.partition)


def fails_at_first(kind: str, number: str) -> bool:
    """Whether the first attempt at an item fails."""
    return kind == "ask" or (kind not in ("crash", "slow") and int(number) % 5 == 0)


@shop.asset
def side(context: Any) -> None:
    """What takes its time beside `raw`, whose pause before its next attempt is over before this one's call."""
    note("side", context.run_id, context.attempt)
    rest(0.1)
    again = f"raw {context.run_id} 2"
    for _ in range(LONGEST_WAIT if fails_at_first(*context.partition.split("-")) else 0):
        if again in (folder / "calls").read_text():
            break
        rest(0.01)


@shop.asset
def report(context: Any, raw: str, side: None) -> str:
    """What is made of an item."""
    note("report", context.run_id, context.attempt)
    return f"report of {raw}"


@shop.asset
def gate(context: Any) -> Any:
    """What people, or a deadline, have to approve."""
    note("gate", context.run_id, context.attempt)
    if context.approval is None:
        late = context.partition.startswith("late")
        return fs.WaitForApproval("go on?", timeout="20ms" if late else None, on_timeout="approve")
    return context.approval.by


@shop.asset
def beat(context: Any) -> str:
    """One second."""
    note("beat", context.run_id, context.attempt)
    return str(context.partition)


@shop.asset
def pulse(context: Any) -> None:
    """One day, again and again."""
    note("pulse", context.run_id, context.attempt)


def second(moment: datetime) -> datetime:
    """A rule that is the user's own."""
    return moment


def delivered(event: TriggerEvent) -> None:
    """The callback of `items`."""
    note("delivered", event.delivery_id, event.partition)


class Growing(fs.Sensor):
    """A source that grows."""

    def init(self) -> dict[str, int]:
        """Nothing was seen."""
        return {"seen": 0}

    def poll(self, state: dict[str, int]) -> fs.Trigger | fs.NoTrigger:
        """What came since."""
        size = (folder / "source").stat().st_size
        if size == state["seen"]:
            return fs.NoTrigger()
        return fs.Trigger(*(f"item-{number}" for number in range(state["seen"], size)), state={"seen": size})


shop.sensor("items", Growing(), every="20ms", target="+report", on_trigger=delivered)
shop.sensor("messages", Push(), target="+report", partition=lambda message: message)
shop.schedule("beat", every="1s", partition=second, misfire="all", overlap="allow")
shop.schedule("pulse", every="1s", overlap="queue_one")


def push(identifier: str) -> None:
    """Push a message under an id that is also its partition."""
    runtime.sensors.push("messages", identifier, message_id=identifier)
    tell(f"pushed {identifier}")


def ask(identifier: str) -> None:
    """Ask for a run under a key that is also its partition."""
    asset = "+report" if identifier.startswith(("ask", "crash", "slow")) else "gate"
    runtime.materialize_async(asset, partition=identifier, run_key=identifier)
    tell(f"asked {identifier}")


def approve(_message: object = None) -> None:
    """Approve what is asked; of two who do it at once, one is refused."""
    for approval in runtime.approvals.list_pending():
        if approval.deadline is None:
            with suppress(fs.StaleState):
                runtime.approvals.approve(approval.id, by="people")


def order(event: Any, context: Any) -> None:
    """The handler of an event, of which a run and another event come."""
    note("order", event.id)
    context.materialize("beat", partition=event.payload)
    context.emit("paid", event.payload)


def paid(event: Any, *, connection: Any) -> None:
    """A handler that writes in the transaction of its event."""
    note("paid", event.id)
    values = f"('paid', 'load', '{event.payload}', '{{}}', '2025-01-15T00:00:00.000000Z')"
    connection.execute(f"insert into audit (event_type, actor, resource, details, at) values {values}")


runtime.connectors.on_event("order", order, vt="200ms", max_deliveries=1000)
runtime.connectors.on_event("paid", paid, vt="200ms", max_deliveries=1000)
runtime.connectors.on_event("tock", lambda event: note("tock", event.id), vt="200ms", max_deliveries=1000)


def emit(identifier: str) -> None:
    """Emit an event under an id that is also the partition of its run."""
    runtime.connectors.emit("order", identifier, event_id=identifier)
    tell(f"emitted {identifier}")


def fill(identifier: str) -> None:
    """Start a backfill under an id, as a life before may have done."""
    runtime.backfills.start("beat", [f"{identifier}-a", f"{identifier}-b"], max_parallel=1, id=identifier)
    with suppress(fs.ValidationError):  # that life, or this one, may have finished it
        runtime.backfills.pause(identifier)
        runtime.backfills.resume(identifier)
    tell(f"filled {identifier}")


def fall_behind() -> None:
    """Let a task that fires each minute be some minutes late, so that it fires in each life."""
    runtime.connectors.create_scheduled_task("tock", "* * * * *", event_type="tock")
    sql, then = "update scheduled_tasks set accounted_until = :then", datetime.now(UTC) - timedelta(minutes=3)
    runtime._services.database.transact(lambda connection: connection.execute(sql, then=then))
    tasks_changed(runtime._services)


def serve() -> None:
    """One life, to its end."""
    callers = []
    with runtime:
        threading.Thread(target=fall_behind, daemon=True).start()
        runtime.pubsub.subscribe("approvals", approve)
        threading.Thread(target=approve, daemon=True).start()
        for schedule in runtime.schedules.list():
            if not schedule.enabled:
                runtime.schedules.resume(schedule.name)
        for order in orders:
            word, *rest_of_order = order.decode().split()
            if word in CALLS:
                callers.append(threading.Thread(target=CALLS[word], args=rest_of_order))
                callers[-1].start()
            elif word == "stop":
                slow.wait(10)
                runtime.stop(timeout=0)
                return
            elif word == "drain":
                for caller in callers:
                    caller.join()
                for name in ("beat", "pulse"):
                    runtime.schedules.pause(name)
                runtime.sensors.poll("items")
                runtime.drain(timeout=60)
                while runtime.runs.list(status="waiting_approval"):
                    approve()
                    rest(0.01)
                    runtime.drain(timeout=60)
                while runtime.queue.metrics(QUEUE).queue_length:
                    rest(0.01)
                runtime.drain(timeout=60)
                return


CALLS = {"push": push, "ask": ask, "emit": emit, "fill": fill}


for line in orders:
    if line.startswith(b"life "):
        pid = os.fork()
        if not pid:
            arm(line.decode().split()[1].strip("-"))
            serve()
            os._exit(0)
        tell(f"born {pid}")
        tell(f"ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
