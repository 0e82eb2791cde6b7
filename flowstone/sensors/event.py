"""What a sensor's callback gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowstone.core.partitions import Partition

__all__ = ["TriggerEvent"]


@dataclass(frozen=True, slots=True)
class TriggerEvent:
    """What a callback gets; `delivery_id` is the same each time that a call is repeated."""

    sensor: str
    partition: Partition
    payload: Any
    evaluation_id: str
    delivery_id: int
