"""One attempt at an asset, as it happens in a thread of the executor: load, call, store."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pickle import PickleError
from typing import Any

from flowstone.core.approval import WaitForApproval
from flowstone.core.asset import Asset, Retry, Skip
from flowstone.core.context import Context, RunTrigger
from flowstone.core.partitions import Partition, decode_partition, encode_partition, partition_text
from flowstone.errors import (
    DependencyNotReady,
    FlowstoneError,
    ForkedRuntime,
    IOManagerError,
    StaleState,
    shown,
    storable,
)
from flowstone.executors.call import awaited
from flowstone.failpoints import failpoint
from flowstone.io import IOContext, IOManager, StoredValue
from flowstone.lineage.node import Input
from flowstone.resources.handles import handles_of
from flowstone.runs import events
from flowstone.runs.attempts import Made
from flowstone.runs.leases import Claim
from flowstone.runs.ledger import Newest, Started
from flowstone.runs.occupancy import Call
from flowstone.runs.records import Materialization
from flowstone.runs.services import Services
from flowstone.runs.store import latest

__all__ = ["Attempt", "execute", "is_stored", "load_stored"]

_LASTING = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError, PickleError)
"""What an IO manager raises about the value itself: the next attempt would end the same way."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is executed: an asset of a claimed run, and the call that may be revoked meanwhile."""

    services: Services
    claim: Claim
    asset: Asset
    started: Started
    call: Call

    @property
    def manager(self) -> str:
        """The IO manager's name: the call's choice, else the asset's, else the runtime's (semantics 9)."""
        return self.claim.io_manager or self.asset.io_manager or self.services.default_io


def execute(attempt: Attempt) -> Made | Skip | Retry | WaitForApproval:
    """Load the dependencies, call the function, store its value; where the value is, or another answer.

    Raises:
        ResourceUnavailable: a resource that it requires is down.
        DependencyNotReady: a dependency has no value.
        StaleState: the attempt was given up meanwhile; nothing is stored.
        IOManagerError: a value could not be loaded or stored.
        BaseException: whatever the function raised.
    """
    asset, claim = attempt.asset, attempt.claim
    partition = decode_partition(claim.partition)
    _check_live(attempt, "it was called")
    resources = handles_of(attempt.services.resources, asset.name, asset.requires)
    inputs: list[Input] = []
    dependencies = {name: _dependency(attempt, name, partition, inputs) for name in asset.depends_on}
    context = Context(
        asset=asset.name,
        partition=partition,
        run_id=claim.lease.run_id,
        attempt=attempt.started.attempt,
        clock=attempt.services.clock,
        trigger=RunTrigger(
            kind=claim.source_kind,
            name=claim.source_name,
            evaluation_id=claim.evaluation_id,
            key=claim.run_key,
            payload=claim.payload,
        ),
        approval=attempt.started.decision,
        resources=resources,
        log=logging.getLogger(f"flowstone.asset.{asset.name}"),
    )
    failpoint("run.before_call")
    _check_live(attempt, "it was called")
    answer = _called(attempt, context, dependencies)
    failpoint("run.after_call")
    if isinstance(answer, Skip | Retry | WaitForApproval):
        return answer
    return Made(_store(attempt, partition, answer), tuple(inputs))


def _load_input(attempt: Attempt, asset: str, partition: Partition, inputs: list[Input]) -> Any:
    """The newest value of an asset for a partition, which is noted as read."""
    services, encoded = attempt.services, encode_partition(partition)
    found: Newest | Materialization | None = attempt.started.newest(asset, encoded)
    if found is None:
        found = services.database.read(lambda connection: latest(connection, asset, encoded))
    if found is None or found.stored is None:
        place = partition_text(partition) or "no partition"
        raise DependencyNotReady(f"{asset} has no value for {place} yet", asset=asset)
    inputs.append(Input(asset, encoded, found.run_id, found.stored.data_version))
    reader = {"for_asset": attempt.asset.name, "for_run_id": attempt.claim.lease.run_id}
    return load_stored(services, asset, partition, found.stored, run_id=found.run_id, **reader)


def _called(attempt: Attempt, context: Context, dependencies: Mapping[str, Any]) -> Any:
    """What the asset's function answers, here or in a worker process; that, or a coroutine, ends with its attempt."""
    asset, processes = attempt.asset, attempt.services.processes
    if asset.process and processes is not None:
        return processes.call(asset, context, dependencies, attempt.call)
    process = os.getpid()
    answer = awaited(asset.call(context, dependencies), attempt.call.on_revoke)
    if os.getpid() != process:
        raise ForkedRuntime("a function has forked: its value is that of the process that called it")
    return answer


def load_stored(
    services: Services, asset: str, partition: Partition, stored: StoredValue, *, run_id: str, **reader: str
) -> Any:
    """The value that a row says is stored there; telemetry hears of the `reader`, the attempt that it is loaded for.

    Raises:
        ValueNotFound: it is gone.
        IOManagerError: it can't be loaded, or its manager is not configured.
    """
    manager = _manager(services, stored.manager)
    context = IOContext(asset=asset, partition=partition, run_id=run_id, attempt=0, fence=0)
    with events.io(services, "load", stored.manager, asset=asset, partition=partition, run_id=run_id, **reader):
        return _guarded(f"loading {asset}", lambda: manager.load(context, stored))


def is_stored(services: Services, asset: str, partition: Partition, stored: StoredValue) -> bool:
    """Whether the value that a row names is still there; it is not loaded.

    Raises:
        IOManagerError: its manager can't be asked, or is not configured.
    """
    manager, context = _manager(services, stored.manager), IOContext(asset=asset, partition=partition)
    return bool(_guarded(f"looking for {asset}", lambda: manager.exists(context, stored)))


def _dependency(attempt: Attempt, name: str, partition: Partition, inputs: list[Input]) -> Any:
    services = attempt.services
    now = services.clock.now()
    wanted = services.catalog.upstream_partitions(attempt.asset.name, name, partition, now=now)
    if isinstance(wanted, list):
        return {key: _load_input(attempt, name, key, inputs) for key in wanted}
    return _load_input(attempt, name, wanted, inputs)


def _store(attempt: Attempt, partition: Partition, value: Any) -> StoredValue:
    _check_live(attempt, "it had a value")
    lease = attempt.claim.lease
    context = IOContext(
        asset=attempt.asset.name,
        partition=partition,
        run_id=lease.run_id,
        attempt=attempt.started.attempt,
        fence=lease.fence,
    )
    manager, name = _manager(attempt.services, attempt.manager), attempt.asset.name
    told = partial(events.io, attempt.services, "store", attempt.manager)
    with told(asset=name, partition=partition, run_id=lease.run_id) as measured:
        stored = _checked(attempt.manager, _guarded(f"storing {name}", lambda: manager.store(context, value)))
        if stored.bytes is not None:
            measured["bytes"] = stored.bytes
    failpoint("run.after_value_stored")
    return stored


def _checked(name: str, stored: Any) -> StoredValue:
    """Where an IO manager says that a value is, under the manager's name; anybody may have written that manager."""
    if isinstance(stored, StoredValue):
        texts = all(isinstance(text, str) for text in (stored.location, stored.data_version))
        if texts and storable(stored.data_version) == stored.data_version and isinstance(stored.bytes, int | None):
            return replace(stored, manager=name)
    expected = "a StoredValue of texts, its bytes an int or None"
    message = f"expected IO manager {name!r} to answer with {expected}, got: {shown(stored)}"
    raise IOManagerError(message, retryable=False, io_manager=name)


def _check_live(attempt: Attempt, what: str) -> None:
    """Refuse to go on with an attempt whose run was cancelled or put back, while it waited for a thread too."""
    if attempt.call.revoked:
        raise StaleState(f"the attempt at {attempt.asset.name} was given up before {what}")


def _manager(services: Services, name: str) -> IOManager:
    if name not in services.io:
        known = ", ".join(sorted(services.io))
        raise IOManagerError(f"expected an IO manager of the runtime ({known}), got: {name!r}", retryable=False)
    return services.io[name]


def _guarded(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except FlowstoneError:
        raise
    except Exception as error:
        lasting = isinstance(error, _LASTING)
        raise IOManagerError(f"{what} failed: {type(error).__name__}: {error}", retryable=not lasting) from error
