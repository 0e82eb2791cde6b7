"""`flowstone sensor`: what sensors see, and their state, while a service runs or not.

A poll calls the sensor's code in the command's own process, and commits what it saw like a service would; the runs that
it asks for are made by the service, at once or when it is started.
"""

from datetime import datetime
from typing import Any

import click

from flowstone.cli.kinds import EVALUATION, SENSOR
from flowstone.cli.loading import client_of
from flowstone.cli.options import BY, INSTANT, JSON, name_argument, page_options, status_option
from flowstone.cli.output import print_row, print_rows
from flowstone.cli.settings import Group, Settings, settings_of
from flowstone.sensors.rows import EvaluationRow, EvaluationStatus

__all__ = ["sensor"]

NAME = name_argument(lambda client: (row.name for row in client.sensors.list()))


@click.group(cls=Group)
def sensor() -> None:
    """List, poll, push to, pause, resume, reset and rewind sensors."""


@sensor.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List all sensors, paused, broken and orphaned ones included."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.sensors.list(), SENSOR, as_json=settings.json)


@sensor.command()
@NAME
@click.pass_context
def poll(context: click.Context, name: str) -> int:
    """Poll a sensor once, in this process."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True) as client:
        return _told(client.sensors.poll(name), settings)


@sensor.command()
@NAME
@click.argument("message", type=JSON, metavar="JSON")
@click.option("--message-id", metavar="ID", help="By which the message is known: one id, one evaluation.")
@click.pass_context
def push(context: click.Context, name: str, message: Any, message_id: str | None) -> int:
    """Push a message to a sensor."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True) as client:
        return _told(client.sensors.push(name, message, message_id=message_id), settings)


@sensor.command()
@NAME
@click.option("--reason", metavar="TEXT", help="Why, for those who look at it later.")
@BY
@click.pass_context
def pause(context: click.Context, name: str, reason: str | None, by: str | None) -> None:
    """Let a sensor rest until it is resumed."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.sensors.pause(name, reason=reason, by=by), SENSOR, as_json=settings.json)


@sensor.command()
@NAME
@BY
@click.pass_context
def resume(context: click.Context, name: str, by: str | None) -> None:
    """Let a sensor go on, its failures forgotten."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.sensors.resume(name, by=by), SENSOR, as_json=settings.json)


@sensor.command()
@NAME
@click.argument("state", type=JSON, metavar="JSON")
@BY
@click.pass_context
def reset(context: click.Context, name: str, state: Any, by: str | None) -> None:
    """Let a sensor go on from a state; `null` is what its `init` gives, all arrivals forgotten."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True) as client:
        print_row(client.sensors.reset(name, state, by=by), SENSOR, as_json=settings.json)


@sensor.command()
@NAME
@click.option("--to", required=True, metavar="EVAL_ID", help="The evaluation to go on after.")
@BY
@click.pass_context
def rewind(context: click.Context, name: str, to: str, by: str | None) -> None:
    """Let a sensor go on from where an evaluation left it; what came later is triggered again."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.sensors.rewind(name, to=to, by=by), SENSOR, as_json=settings.json)


@sensor.command()
@NAME
@status_option(EvaluationStatus)
@click.option("--since", type=INSTANT, metavar="INSTANT", help="Only those at or after it.")
@page_options
@click.pass_context
def history(
    context: click.Context, name: str, status: str | None, since: datetime | None, limit: int, cursor: str | None
) -> None:
    """Show the evaluations of a sensor, newest first."""
    settings = settings_of(context)
    with client_of(settings) as client:
        rows = client.sensors.history(name, status=status, since=since, limit=limit, cursor=cursor)
        print_rows(rows, EVALUATION, as_json=settings.json)


def _told(evaluation: EvaluationRow, settings: Settings) -> int:
    print_row(evaluation, EVALUATION, as_json=settings.json)
    return int(evaluation.status is EvaluationStatus.ERROR)
