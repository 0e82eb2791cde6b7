"""Threads of the operating system, and what they wait with."""

import threading
from _queue import SimpleQueue
from collections.abc import Callable

__all__ = ["Event", "Lock", "SimpleQueue", "start_thread", "thread_id"]

Event = threading.Event
Lock = threading.Lock
thread_id = threading.get_ident


def start_thread(run: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread that has begun to call `run`."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
