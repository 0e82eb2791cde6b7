"""What runtimes and clients are to asyncio and to `with`: awaited calls run in threads, so that the loop goes on."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

__all__ = ["Aio", "Startable"]

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


class Startable(ABC):
    """What is started and stopped, by a `with` and an `async with` too."""

    _aio: Aio

    @abstractmethod
    def start(self) -> Self:
        """Start; harmless when repeated."""

    @abstractmethod
    def stop(self) -> None:
        """Stop; harmless when repeated."""

    @property
    def aio(self) -> Aio:
        """The same calls for asyncio: `await runtime.aio.materialize(…)`, `await runtime.aio.sensors.poll(…)`."""
        return self._aio

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await self.aio.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aio.stop()
