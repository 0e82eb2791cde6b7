"""Waiting for a run to finish, for as long as the caller likes: in real time, and on a thread of the caller's own."""

from __future__ import annotations

import time
from collections.abc import Mapping

from actors import AskTimeout
from flowstone.approvals.store import pending
from flowstone.core.run import FINISHED_RUNS, RunStatus
from flowstone.errors import FlowstoneError, RunNotFound, TimeoutExceeded
from flowstone.runs import store
from flowstone.runs.records import Run
from flowstone.runs.services import Services
from flowstone.runs.waiters import RunLeft
from flowstone.state.connection import Connection

__all__ = ["run_of", "until_finished"]

BESIDE = 0.25
"""Seconds between two looks of a process that has no dispatcher, to which nobody tells what runs come to."""


def run_of(services: Services, run_id: str) -> Run:
    """A run with the rows of its assets.

    Raises:
        RunNotFound: there is no such run.
    """
    run = services.database.read(lambda connection: store.find(connection, run_id))
    if run is None:
        raise RunNotFound.named(run_id)
    return run


def until_finished(
    services: Services, run_id: str, limit: float | None
) -> tuple[Run, Mapping[str, FlowstoneError]]:
    """The run when it has finished, and the live exceptions of its assets, where this process saw them.

    Raises:
        TimeoutExceeded: `limit` seconds passed; the run goes on.
        RuntimeStopped: the runtime ended first; the run is as the store says.
        RunNotFound: there is no such run.
    """
    deadline = None if limit is None else time.monotonic() + limit
    errors: dict[str, FlowstoneError] = {}
    while True:
        future = services.future()
        # Added before the row is read: a run that ends in between is seen in one place or the other.
        services.waiters.add(run_id, future)
        try:
            run = services.database.read(lambda connection: _finished(connection, run_id))
            if run is not None:
                # In this order: what is noted no more was told before.
                errors |= services.waiters.errors(run_id)
                return run, errors | dict(future.get(timeout=0).errors if future.done else {})
            services.waiters.check_open()
            left: RunLeft = future.get(timeout=_patience(services, deadline))
            errors.update(left.errors)
        except AskTimeout:
            if deadline is not None and time.monotonic() >= deadline:
                raise _too_long(services, run_of(services, run_id), limit) from None
        finally:
            services.waiters.remove(run_id, future)


def _finished(connection: Connection, run_id: str) -> Run | None:
    """The run with the rows of its assets, once it has finished."""
    return store.find(connection, run_id) if store.status_of(connection, run_id) in FINISHED_RUNS else None


def _patience(services: Services, deadline: float | None) -> float | None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if "dispatcher" in services.directory:
        return left
    return BESIDE if left is None else min(BESIDE, left)


def _too_long(services: Services, run: Run, limit: float | None) -> TimeoutExceeded:
    message = f"run {run.run_id} did not finish within {limit:g} s; it goes on"
    if run.status is RunStatus.WAITING_APPROVAL:
        asked = services.database.read(lambda connection: pending(connection, run.run_id))
        names = ", ".join(f"{approval.id} ({approval.message})" for approval in asked)
        message = f"run {run.run_id} did not finish within {limit:g} s; it waits for people to decide: {names}"
    return TimeoutExceeded(message, run_id=run.run_id, status=run.status)
