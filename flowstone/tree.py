"""The tree of a runtime's actors: which service stands where, and what restarts with it.

    root (rest_for_one)
    ├── store            heartbeat, and what other processes commit
    └── services (one_for_one)
        ├── resources    (dynamic, a restart budget each) one keeper a resource, when there are any
        ├── runs         (rest_for_one) materializers (dynamic, temporary) · dispatcher · deadlines · backfills
        ├── deliveries
        ├── messaging    (one_for_one) router · tasks
        ├── scheduler
        ├── pruner       unless history is kept for ever, or the store is not kept
        └── sensors      (dynamic, a restart budget each)

Only a crash of the store's actor restarts the services; a service that crashes restarts alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from actors import ChildSpec, Supervisor
from flowstone.assembly import Definitions
from flowstone.backfills.driver import Backfills
from flowstone.runs.deadlines import Deadlines
from flowstone.connectors.router import Router
from flowstone.connectors.task_clock import TaskClock
from flowstone.pruning import Pruner
from flowstone.resources.keeper import Surroundings
from flowstone.resources.supervisor import ResourceSupervisor
from flowstone.runs.dispatcher import Dispatcher, Materializers
from flowstone.runs.services import Services
from flowstone.schedules.scheduler import Scheduler
from flowstone.sensors.calls import Sensors
from flowstone.sensors.deliveries import Deliveries
from flowstone.sensors.rows import EvaluationRow
from flowstone.sensors.supervisor import SensorSupervisor
from flowstone.state.store_actor import StoreActor

__all__ = ["root_spec"]

SERVICE_RESTARTS = 20
SERVICE_SECONDS = 60.0


def root_spec(
    services: Services,
    definitions: Definitions,
    *,
    scheduler: bool,
    sensors: bool,
    retention: float | None,
    id: str = "root",
) -> ChildSpec:
    """The child spec of a whole runtime; without `scheduler` or `sensors` those services are left out.

    `retention` is how many seconds history is kept; None leaves all pruning to others.
    """
    runs = _supervisor(
        "runs",
        [
            ChildSpec(Materializers, id="materializers", args=(services,)),
            ChildSpec(Dispatcher, id="dispatcher", args=(services,)),
            ChildSpec(Deadlines, id="deadlines", args=(services,)),
            ChildSpec(Backfills, id="backfills", args=(services,)),
        ],
        strategy="rest_for_one",
    )
    children = [*_resources(services), runs]
    children.append(ChildSpec(Deliveries, id="deliveries", args=(services, definitions.sensors)))
    children.append(_messaging(services, definitions, scheduler=scheduler))
    if scheduler:
        children.append(ChildSpec(Scheduler, id="scheduler", args=(services, definitions.rules)))
    if retention is not None:
        children.append(ChildSpec(Pruner, id="pruner", args=(services, retention)))
    if sensors:
        children.append(ChildSpec(SensorSupervisor, id="sensors", args=(services, definitions.sensors)))
    return _supervisor(
        id,
        [
            ChildSpec(StoreActor, id="store", args=(services.database, services.membership)),
            _supervisor("services", children, strategy="one_for_one"),
        ],
        strategy="rest_for_one",
    )


def _resources(services: Services) -> list[ChildSpec]:
    if not services.resources.kept:
        return []
    around = Surroundings(services.resources, services.polls, services.telemetry, services.directory)
    return [ChildSpec(ResourceSupervisor, id="resources", args=(around,))]


def _messaging(services: Services, definitions: Definitions, *, scheduler: bool) -> ChildSpec:
    push = partial(_push, services, definitions)
    router = ChildSpec(Router, id="router", args=(services, definitions.handlers, push))
    clock = ChildSpec(TaskClock, id="tasks", args=(services,))
    return _supervisor("messaging", [router, clock] if scheduler else [router], strategy="one_for_one")


def _push(services: Services, definitions: Definitions, sensor: str, message: Any, message_id: str) -> EvaluationRow:
    return Sensors(services, definitions.sensors).push(sensor, message, message_id=message_id)


def _supervisor(id: str, children: Sequence[ChildSpec], *, strategy: str) -> ChildSpec:
    options = {
        "children": list(children),
        "strategy": strategy,
        "max_restarts": SERVICE_RESTARTS,
        "max_seconds": SERVICE_SECONDS,
    }
    return ChildSpec(Supervisor, id=id, kwargs=options)
