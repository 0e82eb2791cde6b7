"""`flowstone schedule`: what is due when, and what became of it, while a service runs or not."""

from datetime import datetime
from functools import partial
from types import EllipsisType

import click

from flowstone.cli.kinds import SCHEDULE, TICK
from flowstone.cli.loading import client_of
from flowstone.cli.options import BY, INSTANT, PARTITION, name_argument, page_options, status_option
from flowstone.cli.output import print_json, print_row, print_rows, print_table
from flowstone.cli.partition import Reader, found
from flowstone.cli.settings import Group, settings_of
from flowstone.core.partitions import Partition
from flowstone.schedules.policies import TickStatus

__all__ = ["schedule"]

NAME = name_argument(lambda client: (row.name for row in client.schedules.list()))


@click.group(cls=Group)
def schedule() -> None:
    """List, preview, trigger, pause and resume schedules."""


@schedule.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List all schedules, paused and orphaned ones included."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_rows(client.schedules.list(), SCHEDULE, as_json=settings.json)


@schedule.command()
@NAME
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="How many instants.")
@click.pass_context
def preview(context: click.Context, name: str, count: int) -> None:
    """Show the next instants of a schedule."""
    settings = settings_of(context)
    with client_of(settings) as client:
        instants = client.schedules.preview(name, count=count)
    if settings.json:
        print_json(instants)
    else:
        print_table(f"{name}: next", ("UTC",), ((instant,) for instant in instants))


@schedule.command()
@NAME
@click.option("--partition", metavar="P", help="Instead of what the schedule's rule gives.")
@click.option("--at", type=INSTANT, metavar="INSTANT", help="Make the tick of that instant; twice makes one.")
@BY
@click.pass_context
def trigger(context: click.Context, name: str, partition: str | None, at: datetime | None, by: str | None) -> int:
    """Make a tick of a schedule, and its run, now."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True) as client:
        wanted: Partition | EllipsisType = ...
        if partition is not None:
            wanted = Reader.of(client, settings).meant(client.schedules.get(name).target, partition)
        tick = client.schedules.trigger(name, partition=wanted, at=at, by=by)
    print_row(tick, TICK, as_json=settings.json)
    return int(tick.status is TickStatus.FAILED)


@schedule.command()
@NAME
@BY
@click.pass_context
def pause(context: click.Context, name: str, by: str | None) -> None:
    """Let the ticks of a schedule pass as skipped."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.schedules.pause(name, by=by), SCHEDULE, as_json=settings.json)


@schedule.command()
@NAME
@BY
@click.pass_context
def resume(context: click.Context, name: str, by: str | None) -> None:
    """Let a schedule go on from now."""
    settings = settings_of(context)
    with client_of(settings) as client:
        print_row(client.schedules.resume(name, by=by), SCHEDULE, as_json=settings.json)


@schedule.command()
@NAME
@status_option(TickStatus)
@PARTITION
@page_options
@click.pass_context
def history(
    context: click.Context, name: str, status: str | None, partition: str | None, limit: int, cursor: str | None
) -> None:
    """Show the ticks of a schedule, newest first."""
    settings = settings_of(context)
    with client_of(settings) as client:
        ticks = partial(client.schedules.history, name)
        wanted = found(partition, lambda reading: ticks(partition=reading, limit=1))
        rows = ticks(status=status, partition=wanted, limit=limit, cursor=cursor)
        print_rows(rows, TICK, as_json=settings.json)
