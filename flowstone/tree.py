"""The tree of a runtime's actors: which service stands where, and what restarts with it.

    root (rest_for_one)
    ├── store            heartbeat, and what other processes commit
    └── services (one_for_one)
        ├── runs         (rest_for_one) materializers (dynamic, temporary) · dispatcher · deadlines
        ├── deliveries
        ├── scheduler
        └── sensors      (dynamic, a restart budget each)

Only a crash of the store's actor restarts the services; a service that crashes restarts alone.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from actors import ChildSpec, Supervisor
from flowstone.assembly import Definitions
from flowstone.runs.deadlines import Deadlines
from flowstone.runs.dispatcher import Dispatcher, Materializers
from flowstone.runs.services import Services
from flowstone.schedules.scheduler import Scheduler
from flowstone.sensors.deliveries import Deliveries
from flowstone.sensors.supervisor import SensorSupervisor
from flowstone.state.store_actor import StoreActor

__all__ = ["root_spec"]

SERVICE_RESTARTS = 20
SERVICE_SECONDS = 60.0


def root_spec(
    services: Services, definitions: Definitions, *, scheduler: bool, sensors: bool, id: str = "root"
) -> ChildSpec:
    """The child spec of a whole runtime; without `scheduler` or `sensors` those services are left out."""
    runs = _supervisor(
        "runs",
        [
            ChildSpec(Materializers, id="materializers", args=(services,)),
            ChildSpec(Dispatcher, id="dispatcher", args=(services,)),
            ChildSpec(Deadlines, id="deadlines", args=(services,)),
        ],
        strategy="rest_for_one",
    )
    children = [runs, ChildSpec(Deliveries, id="deliveries", args=(services, definitions.sensors))]
    if scheduler:
        children.append(ChildSpec(Scheduler, id="scheduler", args=(services, definitions.rules)))
    if sensors:
        children.append(ChildSpec(SensorSupervisor, id="sensors", args=(services, definitions.sensors)))
    return _supervisor(
        id,
        [
            ChildSpec(StoreActor, id="store", args=(services.database, services.boot, socket.gethostname())),
            _supervisor("services", children, strategy="one_for_one"),
        ],
        strategy="rest_for_one",
    )


def _supervisor(id: str, children: Sequence[ChildSpec], *, strategy: str) -> ChildSpec:
    options = {
        "children": list(children),
        "strategy": strategy,
        "max_restarts": SERVICE_RESTARTS,
        "max_seconds": SERVICE_SECONDS,
    }
    return ChildSpec(Supervisor, id=id, kwargs=options)
