"""The three calls of a resource, as the executor makes them: set up, look whether it is well, tear down."""

from __future__ import annotations

import logging
from typing import Any

from actors import Future
from flowstone.errors import ResourceUnavailable, RuntimeStopped, text_of
from flowstone.executors.call import awaited
from flowstone.executors.threads import ThreadExecutor
from flowstone.outcome import Outcome
from flowstone.resources.book import ResourceBook
from flowstone.resources.resource import Resource, resolved, timeout_of

__all__ = ["check", "set_up", "take_down", "tear_down", "why"]

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Real seconds that a teardown has when the runtime stops."""


def set_up(book: ResourceBook, name: str, number: int) -> bool:
    """Set a resource up and put its handle into the book; False when it came too late, and was torn down again."""
    live = resolved(book.entry(name).given)
    handle = awaited(live.setup())
    if book.offer(name, number, live, handle):
        return True
    log.warning("resource %s was set up too late, and is torn down", name)
    awaited(live.teardown(handle))
    return False


def check(live: Resource, handle: Any) -> None:
    """Nothing, when the resource is well.

    Raises:
        ResourceUnavailable: it says that it is not.
        BaseException: whatever its check raised.
    """
    if awaited(live.health_check(handle)) is False:
        raise ResourceUnavailable("its health check said no")


def tear_down(live: Resource, handle: Any) -> None:
    """Let a resource release its handle."""
    awaited(live.teardown(handle))


def why(outcome: Outcome[Any], what: str) -> str:
    """Why a call of a resource came to nothing."""
    if outcome.timed_out:
        return f"{what} took longer than {outcome.duration:g} s"
    error = outcome.error
    if isinstance(error, ResourceUnavailable):
        return text_of(error)
    return f"{what} raised {type(error).__name__}: {text_of(error)}"


def take_down(book: ResourceBook, executor: ThreadExecutor) -> None:
    """Tear everything down, the last set up first; what takes too long goes on by itself. Blocks."""
    for name in reversed(book.kept):
        live, handle = book.fail(name, "the runtime was stopped")
        if live is None:
            continue
        ended = _torn_down(executor, name, live, handle)
        if ended is None:
            log.error("teardown of resource %s goes on after the runtime's end", name)
        elif not ended.ok:
            log.error("resource %s was not torn down: %s", name, book.masked(name, why(ended, "teardown")))


def _torn_down(executor: ThreadExecutor, name: str, live: Resource, handle: Any) -> Outcome[None] | None:
    """What became of a teardown; None when it takes too long."""
    done: Future[Outcome[None]] = Future()

    def then(outcome: Outcome[None]) -> None:
        done.offer(outcome)

    try:
        executor.submit(tear_down, live, handle, timeout=None, name=f"resource {name} teardown", then=then)
    except RuntimeStopped as error:
        return Outcome(error=error)
    return done.get() if done.settled(min(PATIENCE, timeout_of(live, name))) else None
