"""What an asset's function is told about the attempt that it makes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from flowstone.core.approval import Decision
from flowstone.core.partitions import Partition

__all__ = ["Context", "RunTrigger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTrigger:
    """What caused a run: `kind` is `manual`, `schedule` or `sensor`, `key` the run key, `payload` what arrived."""

    kind: str
    name: str | None
    evaluation_id: str | None
    key: str
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One attempt: asset, partition, run, attempt number (from 1), the runtime's clock, a log, and what caused it.

    `run_id` and `attempt` are there to make side effects idempotent (semantics 0). `approval` is what was decided about
    an earlier call of this run, None before a decision; `resources` has what the asset requires, by name.
    """

    asset: str
    partition: Partition
    run_id: str
    attempt: int
    clock: Any
    trigger: RunTrigger
    approval: Decision | None = None
    resources: Any = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("flowstone.asset"))
