"""`flowstone connector`: scheduled tasks, events, and what nobody could handle, while a service runs or not."""

from pathlib import Path
from typing import Any

import click

from flowstone.cli.kinds import DEAD_LETTER, EVENT, TASK
from flowstone.cli.loading import client_of
from flowstone.cli.options import BY, JSON, name_argument, page_options
from flowstone.cli.output import print_json, print_row, print_rows
from flowstone.cli.settings import Group, settings_of

__all__ = ["connector"]

NAME = name_argument(lambda client: (task.name for task in client.connectors.list_scheduled_tasks()))


@click.group(cls=Group)
def connector() -> None:
    """Keep scheduled tasks, emit events, and see to dead letters."""


@connector.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List all scheduled tasks, those that plain SQL wrote included."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.connectors.list_scheduled_tasks(), TASK, as_json=settings.json)


@connector.command()
@click.argument("name")
@click.option("--cron", "cron_expression", required=True, metavar="CRON", help="When, as '*/5 * * * *'.")
@click.option("--event-type", required=True, metavar="TYPE", help="Of the events that it emits.")
@click.option("--payload", type=JSON, default="{}", metavar="JSON", help="Of the events; {} by default.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Of the cron expression.")
@click.option("--disabled", is_flag=True, help="Emit nothing before it is enabled.")
@BY
@click.pass_context
def create(context: click.Context, /, name: str, disabled: bool, **options: Any) -> None:
    """Create a scheduled task; the same again changes nothing."""
    settings = settings_of(context)
    with client_of(settings) as client:
        task = client.connectors.create_scheduled_task(name, enabled=not disabled, **options)
        print_row(task, TASK, as_json=settings.json)


@connector.command()
@NAME
@click.option("--cron", "cron_expression", metavar="CRON", help="When.")
@click.option("--event-type", metavar="TYPE", help="Of the events that it emits.")
@click.option("--payload", type=JSON, metavar="JSON", help="Of the events.")
@click.option("--timezone", metavar="ZONE", help="Of the cron expression.")
@click.option("--enabled/--disabled", default=None, help="Whether it emits.")
@BY
@click.pass_context
def update(context: click.Context, /, name: str, by: str | None, **options: Any) -> None:
    """Change options of a scheduled task."""
    settings = settings_of(context)
    changes = {option: value for option, value in options.items() if value is not None}
    with client_of(settings) as client:
        print_row(client.connectors.update_scheduled_task(name, by=by, **changes), TASK, as_json=settings.json)


@connector.command()
@NAME
@BY
@click.pass_context
def disable(context: click.Context, name: str, by: str | None) -> None:
    """Let a scheduled task emit nothing, at once."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.connectors.disable_scheduled_task(name, by=by), TASK, as_json=settings.json)


@connector.command()
@NAME
@BY
@click.pass_context
def delete(context: click.Context, name: str, by: str | None) -> None:
    """Remove a scheduled task; what it emitted stays."""
    settings = settings_of(context)
    with client_of(settings) as client:
        client.connectors.delete_scheduled_task(name, by=by)
    print_json({"deleted": name}) if settings.json else click.echo(f"deleted {name}")


@connector.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@BY
@click.pass_context
def load(context: click.Context, file: Path, by: str | None) -> None:
    """Define connectors and their tasks by a file of JSON."""
    settings = settings_of(context)
    with client_of(settings) as client:
        made = client.connectors.load(file.read_text(encoding="utf-8"), by=by)
        print_rows(made, TASK, as_json=settings.json)


@connector.command()
@click.argument("event_type")
@click.argument("payload", type=JSON, default="null")
@click.pass_context
def emit(context: click.Context, event_type: str, payload: Any) -> None:
    """Emit an event of a type, with a payload of JSON."""
    settings = settings_of(context)
    with client_of(settings) as client:
        event_id = client.connectors.emit(event_type, payload)
    print_json({"id": event_id}) if settings.json else click.echo(event_id)


@connector.command()
@click.option("--task", metavar="NAME", help="Only those of this scheduled task.")
@click.option("--event-type", metavar="TYPE", help="Only those of this type.")
@page_options
@click.pass_context
def events(context: click.Context, /, **options: Any) -> None:
    """Show what was emitted, by what and with what result, newest first."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.connectors.events(**options), EVENT, as_json=settings.json)


@connector.command("dead-letters")
@click.pass_context
def dead_letters(context: click.Context) -> None:
    """Show the events that nobody could handle, with their errors."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.connectors.dead_letters(), DEAD_LETTER, as_json=settings.json)


@connector.command()
@click.argument("event_id")
@BY
@click.pass_context
def requeue(context: click.Context, event_id: str, by: str | None) -> None:
    """Put a dead letter back into the queue."""
    settings = settings_of(context)
    with client_of(settings) as client:
        event = client.connectors.requeue(event_id, by=by)
    print_json({"id": event.id}) if settings.json else click.echo(f"queued {event.id} again")
