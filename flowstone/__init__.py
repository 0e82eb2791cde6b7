"""FlowStone: data assets kept fresh from inside a long-running Python service.

Define assets, schedules and sensors in a `Pipeline`, and let a `Runtime` keep them: supervised actors over a store in
which every step is one transaction. Importing this package starts nothing and loads no database driver: the runtime is
loaded when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowstone.connectors.connector import Connector
from flowstone.core.approval import WaitForApproval
from flowstone.core.asset import Asset, Retry, RetryPolicy, Skip
from flowstone.core.context import Context
from flowstone.core.dynamic_sets import Dynamic
from flowstone.core.mappings import All, Dimension, Identity, Latest, TimeWindow
from flowstone.core.partition_sets import Daily, Hourly, Monthly, Static, Weekly
from flowstone.core.partitions import decode_partition, encode_partition
from flowstone.core.product_sets import Multi
from flowstone.core.run import RunRequest
from flowstone.core.run_key import run_id
from flowstone.cron import Cron
from flowstone.errors import (
    ApprovalNotFound,
    ApprovalRejected,
    AssetNotFound,
    BackfillNotFound,
    ConfigError,
    CronError,
    CycleError,
    DependencyFailed,
    DependencyNotReady,
    ExecutionError,
    FlowstoneError,
    ForkedRuntime,
    IOManagerError,
    PartitionError,
    PoisonedRun,
    ResourceUnavailable,
    RunKeyConflict,
    RunNotFound,
    RuntimeStopped,
    ScheduleNotFound,
    SensorNotFound,
    StaleState,
    StoreLocked,
    StoreUnavailable,
    TimeoutExceeded,
    ValidationError,
    ValueNotFound,
)
from flowstone.pipeline import Pipeline
from flowstone.resources.resource import Resource
from flowstone.schedules.policies import Misfire
from flowstone.schedules.rules import (
    previous_day,
    previous_hour,
    previous_month,
    previous_week,
    this_day,
    this_hour,
    this_month,
    this_week,
)
from flowstone.schedules.schedule import Schedule
from flowstone.sensors.sensor import Arrival, NoTrigger, PollError, Sensor, Trigger
from flowstone.sensors.spec import SensorSpec

if TYPE_CHECKING:
    from flowstone.client import Client
    from flowstone.runtime import Runtime

__all__ = [
    "All",
    "ApprovalNotFound",
    "ApprovalRejected",
    "Arrival",
    "Asset",
    "AssetNotFound",
    "BackfillNotFound",
    "Client",
    "ConfigError",
    "Connector",
    "Context",
    "Cron",
    "CronError",
    "CycleError",
    "Daily",
    "DependencyFailed",
    "DependencyNotReady",
    "Dimension",
    "Dynamic",
    "ExecutionError",
    "FlowstoneError",
    "ForkedRuntime",
    "Hourly",
    "IOManagerError",
    "Identity",
    "Latest",
    "Misfire",
    "Monthly",
    "Multi",
    "NoTrigger",
    "PartitionError",
    "Pipeline",
    "PoisonedRun",
    "PollError",
    "Resource",
    "ResourceUnavailable",
    "Retry",
    "RetryPolicy",
    "RunKeyConflict",
    "RunNotFound",
    "RunRequest",
    "Runtime",
    "RuntimeStopped",
    "Schedule",
    "ScheduleNotFound",
    "Sensor",
    "SensorNotFound",
    "SensorSpec",
    "Skip",
    "StaleState",
    "Static",
    "StoreLocked",
    "StoreUnavailable",
    "TimeWindow",
    "TimeoutExceeded",
    "Trigger",
    "ValidationError",
    "ValueNotFound",
    "WaitForApproval",
    "Weekly",
    "decode_partition",
    "encode_partition",
    "previous_day",
    "previous_hour",
    "previous_month",
    "previous_week",
    "run_id",
    "this_day",
    "this_hour",
    "this_month",
    "this_week",
]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from flowstone.client import Client

        return Client
    if name == "Runtime":
        from flowstone.runtime import Runtime

        return Runtime
    raise AttributeError(f"module 'flowstone' has no attribute {name!r}")
