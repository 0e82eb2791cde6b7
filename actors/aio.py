"""Refs for asyncio: answers are awaited, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actors.backends.futures import Future
from actors.errors import AskTimeout
from actors.messages import NORMAL

if TYPE_CHECKING:
    from actors.ref import ActorRef

__all__ = ["AioRef", "wait"]


class AioRef:
    """A ref whose calls are awaited; `tell` never waits and is the same as the ref's."""

    __slots__ = ("_ref",)

    def __init__(self, ref: ActorRef) -> None:
        self._ref = ref

    def tell(self, message: Any) -> None:
        """Send `message` without waiting. Raises ActorDeadError."""
        self._ref.tell(message)

    async def ask(self, message: Any, *, timeout: float | None = None) -> Any:
        """Send `message` and return the answer. Raises AskTimeout, ActorDeadError, and what the actor raised."""
        return await wait(self._ref.ask(message, block=False), timeout)

    async def stop(self, *, timeout: float | None = None, reason: Any = NORMAL) -> bool:
        """Let the actor end; returns whether it was alive."""
        alive: bool = await wait(self._ref.stop(block=False, reason=reason), timeout)
        return alive


async def wait(future: Future[Any], timeout: float | None = None) -> Any:
    """Return the value of `future`, or raise its exception, once it is settled.

    Raises AskTimeout after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    settled = asyncio.Event()

    def wake() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settled.set)

    if future.on_done(wake):
        try:
            async with asyncio.timeout(timeout):
                await settled.wait()
        except TimeoutError:
            raise AskTimeout(future.describe(), timeout or 0.0) from None
        finally:
            future.forget(wake)
    return future.get()
