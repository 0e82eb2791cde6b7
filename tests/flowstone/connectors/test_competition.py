"""Eight processes on one PostgreSQL: a message has one reader, and an event is handled once in effect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from select import select

import pytest

import flowstone as fs
from flowstone.connectors.events import QUEUE, emission, emit
from flowstone.connectors.queue_calls import Queue
from flowstone.state.connection import Connection
from flowstone.state.database import Database

PROCESSES = 8
MESSAGES = int(os.environ.get("FLOWSTONE_TEST_MESSAGES", "4000"))
EVENTS = int(os.environ.get("FLOWSTONE_TEST_EVENTS", "1000"))

READER = """
import sys
from flowstone.connectors.queue_calls import Queue
from flowstone.state.database import Database

with Database.open(sys.argv[1], exclusive=False) as database:
    queue = Queue(database)
    while found := queue.read("work", vt=600, qty=100):
        queue.archive("work", [message.msg_id for message in found])
        print(*(message.message for message in found), flush=True)
"""
HANDLER = """
import sys
import flowstone as fs
from flowstone.connectors.events import QUEUE

def handle(event, *, connection):
    values = f"('mark', 'x', '{event.id}', '{{}}', now())"
    connection.execute(f"insert into audit (event_type, actor, resource, details, at) values {values}")

runtime = fs.Runtime(store=sys.argv[1], io_manager="memory", scheduler=False, sensors=False)
runtime.connectors.on_event("work", handle)
with runtime:
    print("ready", flush=True)
    sys.stdin.readline()
"""


def processes(script: str, url: str) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, url]
    return [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]


def emit_all(connection: Connection, ids: list[str]) -> None:
    now = connection.now()
    for number, identifier in enumerate(ids):
        assert emit(connection, identifier, emission("work", number), now=now)


@pytest.mark.concurrent
@pytest.mark.timeout(400)
def test_exactly_one_of_eight_processes_reads_each_message(postgres_url: str) -> None:
    with Database.open(postgres_url, exclusive=False) as database:
        queue = Queue(database)
        queue.create("work")
        queue.send_batch("work", range(MESSAGES))
        readers = processes(READER, postgres_url)
        seen = Counter(int(word) for reader in readers for word in reader.communicate(timeout=380)[0].split())
        assert [reader.returncode for reader in readers] == [0] * PROCESSES
        assert seen == dict.fromkeys(range(MESSAGES), 1)
        assert queue.metrics("work").queue_length == 0 and queue.metrics("work").total_messages == MESSAGES


@pytest.mark.concurrent
@pytest.mark.timeout(1200)
def test_eight_routers_handle_each_event_once_in_effect(postgres_url: str) -> None:
    ids = [f"evt_{number}" for number in range(EVENTS)]
    with fs.Client(store=postgres_url) as client:
        with Database.open(postgres_url, exclusive=False) as database:
            database.transact(lambda connection: emit_all(connection, ids))
        routers = processes(HANDLER, postgres_url)
        for router in routers:
            assert router.stdout is not None and router.stdout.readline() == "ready\n"
        while client.queue.metrics(QUEUE).queue_length:
            select([], [], [], 0.02)
        for router in routers:
            router.communicate("\n", timeout=60)
            assert router.returncode == 0
        with Database.open(postgres_url, exclusive=False) as database:
            rows = database.read(lambda c: c.execute("select resource from audit where event_type = 'mark'"))
        assert Counter(row.resource for row in rows) == dict.fromkeys(ids, 1)
        assert client.connectors.dead_letters() == ()
