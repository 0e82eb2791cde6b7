"""The calls of a runtime for asyncio: each runs in a thread of its own, so that the loop goes on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["Aio"]

THREADS = 256
"""Calls that may wait at the same time; more queue."""


class Aio:
    """An object whose methods are awaited: `await runtime.aio.materialize(…)`, `await runtime.aio.sensors.poll(…)`.

    >>> import asyncio
    >>> asyncio.run(Aio("a,b").split(","))
    ['a', 'b']
    """

    def __init__(self, target: Any, threads: ThreadPoolExecutor | None = None) -> None:
        self._target = target
        # Threads start with the first call, and as many as wait at the same time.
        self._threads = threads or ThreadPoolExecutor(THREADS, thread_name_prefix="flowstone-aio")

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if callable(value):
            return functools.partial(self._call, value)
        return Aio(value, self._threads)

    async def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))
