"""`flowstone queue`: queues of messages, with the names of pgmq, while a service runs or not."""

from typing import Any

import click

from flowstone.cli.kinds import MESSAGE, METRICS, QUEUE
from flowstone.cli.loading import client_of
from flowstone.cli.options import DURATION, JSON, name_argument
from flowstone.cli.output import print_json, print_row, print_rows
from flowstone.cli.settings import Group, settings_of

__all__ = ["queue"]

NAME = name_argument(lambda client: (row.name for row in client.queue.list_queues()))
ID = click.argument("msg_id", type=int)


@click.group(cls=Group)
def queue() -> None:
    """Create queues, send and read messages, archive and delete them."""


@queue.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List all queues."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.queue.list_queues(), QUEUE, as_json=settings.json)


@queue.command()
@click.argument("name")
@click.pass_context
def create(context: click.Context, name: str) -> None:
    """Create a queue; harmless when it is there."""
    settings = settings_of(context)
    with client_of(settings) as client:
        client.queue.create(name)
    _told(settings.json, created=name)


@queue.command()
@NAME
@click.pass_context
def drop(context: click.Context, name: str) -> int:
    """Remove a queue with all that is in it."""
    settings = settings_of(context)
    with client_of(settings) as client:
        dropped = client.queue.drop_queue(name)
    _told(settings.json, dropped=dropped)
    return int(not dropped)


@queue.command()
@NAME
@click.argument("message", type=JSON)
@click.option("--delay", type=DURATION, default="0s", metavar="DURATION", help="Visible only after that.")
@click.pass_context
def send(context: click.Context, name: str, message: Any, delay: float) -> None:
    """Send a message of JSON."""
    settings = settings_of(context)
    with client_of(settings) as client:
        msg_id = client.queue.send(name, message, delay)
    _told(settings.json, msg_id=msg_id)


@queue.command()
@NAME
@click.option("--vt", type=DURATION, default="30s", show_default=True, metavar="DURATION", help="Hidden from others.")
@click.option("--qty", type=click.IntRange(min=1), default=1, show_default=True, help="How many at most.")
@click.pass_context
def read(context: click.Context, name: str, vt: float, qty: int) -> None:
    """Read messages, which nobody else sees for a while."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.queue.read(name, vt, qty), MESSAGE, as_json=settings.json)


@queue.command()
@NAME
@click.option("--qty", type=click.IntRange(min=1), default=1, show_default=True, help="How many at most.")
@click.pass_context
def pop(context: click.Context, name: str, qty: int) -> None:
    """Take messages out for good."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.queue.pop(name, qty), MESSAGE, as_json=settings.json)


@queue.command()
@NAME
@ID
@click.pass_context
def archive(context: click.Context, name: str, msg_id: int) -> int:
    """Move a message to the archive."""
    settings = settings_of(context)
    with client_of(settings) as client:
        done = client.queue.archive(name, msg_id)
    _told(settings.json, archived=done)
    return int(not done)


@queue.command()
@NAME
@ID
@click.pass_context
def delete(context: click.Context, name: str, msg_id: int) -> int:
    """Delete a message."""
    settings = settings_of(context)
    with client_of(settings) as client:
        done = client.queue.delete(name, msg_id)
    _told(settings.json, deleted=done)
    return int(not done)


@queue.command()
@NAME
@click.pass_context
def purge(context: click.Context, name: str) -> None:
    """Delete all messages of a queue."""
    settings = settings_of(context)
    with client_of(settings) as client:
        count = client.queue.purge_queue(name)
    _told(settings.json, deleted=count)


@queue.command()
@NAME
@click.pass_context
def metrics(context: click.Context, name: str) -> None:
    """Show what is known of a queue."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.queue.metrics(name), METRICS, as_json=settings.json)


def _told(as_json: bool, **what: object) -> None:
    if as_json:
        print_json(what)
    else:
        click.echo(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in what.items()))
