"""In a process that gevent has patched the store keeps to threads of the operating system."""

from collections.abc import Callable
from typing import Any

PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from actors.raw import Lock, get_ident
from flowstone.state.database import Database

main = get_ident()
waiting = Lock()
waiting.acquire()

def refuse(outcome):
    waiting.release()
    raise ValueError("no")

def answer(outcome):
    print(outcome.unwrap())
    waiting.release()

with Database.open(sys.argv[1]) as database:
    print("another thread writes", database.transact(lambda connection: get_ident() != main))
    database.write(lambda connection: None, refuse)
    waiting.acquire()
    greenlets = [gevent.spawn(database.transact, lambda connection, n=n: n) for n in range(20)]
    gevent.joinall(greenlets, raise_error=True)
    print("greenlets write", [greenlet.value for greenlet in greenlets] == list(range(20)))
    print("a greenlet reads", database.read(lambda connection: connection.execute("select 1 as n")[0].n))
    database.read_later(lambda connection: "a reader answers", answer)
    waiting.acquire()
print("closed")
"""


def test_a_patched_process_can_use_a_store(url: str, script: Callable[..., Any]) -> None:
    assert script(PATCHED, url).stdout.read().splitlines() == [
        "another thread writes True",
        "greenlets write True",
        "a greenlet reads 1",
        "a reader answers",
        "closed",
    ]
