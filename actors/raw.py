"""Raw threads and locks: the operating system's own, also in a process that gevent has patched.

Patched and raw primitives never meet: everything that crosses threads is made from these.
"""

from __future__ import annotations

import _thread
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Guard", "Lock", "close", "get_ident", "is_patched", "poll", "spawn", "start_thread", "wait_for_end"]


def _original(name: str, module: str = "_thread") -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return getattr(sys.modules[module], name) if monkey is None else monkey.get_original(module, name)


Lock: Callable[[], _thread.LockType] = _original("allocate_lock")
"""A raw lock; any thread may release it."""

Guard: Callable[[], Any] = _original("RLock")
"""A raw lock around a few assignments.

Reentrant, since a signal handler may tell an actor while its thread is in the middle of telling.
"""

get_ident: Callable[[], int] = _original("get_ident")
"""The operating system thread's number, never a greenlet's."""

poll: Callable[[], select.poll] = _original("poll", "select")
"""An object that waits for descriptors, on a thread of the operating system."""

close: Callable[[int], None] = _original("close", os.__name__)
"""`os.close`, at once: gevent's waits for its hub, which may be waiting itself."""

spawn: Callable[..., int] = _original("posix_spawn", os.__name__)
"""`os.posix_spawn`: starts a program in a process of its own, without a fork that Python takes part in."""

wait_for_end: Callable[[int, int], tuple[int, int]] = _original("waitpid", os.__name__)
"""`os.waitpid`: waits for the end of a child, on a thread of the operating system."""

_start_new_thread: Callable[..., int] = _original("start_new_thread")


def is_patched() -> bool:
    """Tell whether gevent has replaced the threads of this process by greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def start_thread(name: str, fn: Callable[[], object]) -> threading.Thread | None:
    """Run `fn` in a new daemon thread of the operating system; returns the thread where Python knows it."""
    if is_patched():
        # threading.Thread would be a greenlet here; a raw thread has no object that Python knows.
        _start_new_thread(fn, ())
        return None
    thread = threading.Thread(target=fn, name=name, daemon=True)
    thread.start()
    return thread
