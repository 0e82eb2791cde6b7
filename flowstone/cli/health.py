"""`flowstone health`: how a service is that runs in another process, from what the store tells of it."""

import click

from actors import RealClock
from flowstone.cli.loading import load_pipeline, require_store
from flowstone.cli.options import DURATION
from flowstone.cli.output import print_json, print_table
from flowstone.cli.settings import Command, settings_of
from flowstone.health import HealthStatus
from flowstone.state.database import Database
from flowstone.state.url import Kind, place_of
from flowstone.vitals import Vitals, vitals

__all__ = ["health"]


@click.command(cls=Command)
@click.option("--live", is_flag=True, help="Fail only when no service runs, whatever is overdue: for liveness probes.")
@click.option(
    "--longest-wait", type=DURATION, default="15m", show_default=True, metavar="AGE", help="How long a run may be due."
)
@click.pass_context
def health(context: click.Context, live: bool, longest_wait: float) -> int:
    """Tell whether a service runs and keeps up; 0 when it does, else 1."""
    settings = settings_of(context)
    config = settings.config
    require_store(config.store)
    sensors = load_pipeline(settings).sensors if config.app else ()
    specs = {sensor.name: sensor for sensor in sensors}
    local, now = place_of(config.store).kind is Kind.SQLITE, RealClock().now()
    with Database.open(config.store, exclusive=False) as database:
        found = database.read(
            lambda connection: vitals(connection, now, longest_wait=longest_wait, local=local, specs=specs)
        )
    if settings.json:
        print_json(_document(found))
    else:
        _show(found)
    good = (HealthStatus.OK, HealthStatus.DEGRADED) if live else (HealthStatus.OK,)
    return int(found.health.status not in good)


def _document(found: Vitals) -> dict[str, object]:
    return {
        "status": found.health.status,
        "parts": [
            {"kind": part.kind, "name": part.name, "status": part.status, "reason": part.reason}
            for part in found.health.parts
        ],
        "nodes": [
            {"name": node.name, "pid": node.pid, "started_at": node.started_at, "heartbeat_at": node.heartbeat_at}
            for node in found.nodes
        ],
        "queue": {"due": found.queue.queued, "running": found.queue.running, "age": found.age},
    }


def _show(found: Vitals) -> None:
    told = {part.kind: part.reason for part in found.health.parts if part.kind in ("service", "queue")}
    print_table(None, None, (("status", found.health.status), *told.items()))
    if found.health.problems:
        rows = ((part.kind, part.name, part.status, part.reason) for part in found.health.problems)
        print_table("not as it should be", ("kind", "name", "status", "why"), rows)
