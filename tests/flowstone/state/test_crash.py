"""Whatever ends the process or the disk: what was acknowledged is there, whole, and nothing else is half there."""

import os
import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

from flowstone.state.connection import Connection
from flowstone.state.database import Database

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

WRITE = """
import os, sys, threading
from flowstone.state.database import Database

first = int(sys.argv[2])
database = Database.open(sys.argv[1])

def write(lane):
    for number in range(first + lane, first + 1_000_000, 4):
        def transaction(connection, number=number):
            connection.execute("insert into item values (:n)", n=number)
            connection.execute("insert into twin values (:n)", n=number)
            return number
        database.write(transaction, acknowledge)
        room.acquire()

def acknowledge(outcome):
    os.write(1, b"%d\\n" % outcome.unwrap())
    room.release()

room = threading.Semaphore(200)
for lane in range(4):
    threading.Thread(target=write, args=(lane,)).start()
"""

FULL_DISK = """
import os, resource, sys
from flowstone.errors import StoreUnavailable
from flowstone.state.database import Database

path = sys.argv[1].removeprefix("sqlite:///")
database = Database.open(sys.argv[1])
database.transact(lambda connection: connection.execute("create table item (n integer primary key, rest text)"))

def add(number, size):
    return lambda connection: connection.execute(
        "insert into item values (:n, hex(zeroblob(:size)))", n=number, size=size)

size = os.stat(path + "-wal").st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, resource.RLIM_INFINITY))
acknowledged = []
for number in range(50):
    try:
        database.transact(add(number, 10_000))
        acknowledged.append(number)
    except StoreUnavailable as error:
        print("refused", error.retryable)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
database.transact(add(1000, 10_000))
acknowledged.append(1000)
found = [row.n for row in database.read(lambda connection: connection.execute("select n from item order by n"))]
print(found == acknowledged, len(acknowledged) > 2)
database.close()
with Database.open(sys.argv[1]) as again:
    rows = again.read(lambda connection: connection.execute("select n from item order by n"))
    print(found == [row.n for row in rows])
"""


def numbers(database: Database, table: str) -> set[int]:
    return {row.n for row in database.read(lambda connection: connection.execute(f"select n from {table}"))}


def make_tables(connection: Connection) -> None:
    connection.execute("create table item (n integer primary key)")
    connection.execute("create table twin (n integer primary key)")


@pytest.mark.crash
def test_no_acknowledged_transaction_is_lost_and_none_is_torn(url: str, script: Callable[..., Any]) -> None:
    with Database.open(url) as database:
        database.transact(make_tables)
    acknowledged: set[int] = set()
    choose = random.Random()
    for life in range(12 if url.startswith("sqlite") else 6):
        process = script(WRITE, url, str(life * 1_000_000))
        for _ in range(choose.randrange(1, 3000)):
            acknowledged.add(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        # Each line is one write to the pipe, so the kill cuts none in two.
        acknowledged.update(map(int, process.stdout.read().split()))
        process.wait()
        with Database.open(url) as database:
            items, twins = numbers(database, "item"), numbers(database, "twin")
        assert acknowledged <= items
        assert items == twins


@on_sqlite
@pytest.mark.crash
def test_a_disk_that_takes_no_more_refuses_what_it_could_not_store_and_nothing_else(
    url: str, script: Callable[..., Any]
) -> None:
    process = script(FULL_DISK, url)
    assert process.stdout.read().splitlines() == ["refused True", "True True", "True"]
    assert os.path.exists(url.removeprefix("sqlite:///"))
