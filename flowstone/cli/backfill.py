"""`flowstone backfill`: many partitions, followed while they are made, by a service or by the command itself."""

from __future__ import annotations

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flowstone.backfills.backfill import Backfill, BackfillStatus, PartitionStatus
from flowstone.backfills.calls import Backfills
from flowstone.cli.kinds import BACKFILL, BACKFILL_PARTITION
from flowstone.cli.loading import client_of
from flowstone.cli.options import ASSET_NAME, BY, page_options, status_option
from flowstone.cli.output import print_json, print_row, print_rows
from flowstone.cli.partition import Reader
from flowstone.cli.settings import Group, Settings, settings_of
from flowstone.cli.work import worker_of

__all__ = ["backfill"]

SHOWN = 20
"""Failed partitions that are shown without being asked for."""

ID = click.argument("id", metavar="ID")


@click.group(cls=Group)
def backfill() -> None:
    """Make an asset for many partitions: start, follow, pause, resume, cancel and retry."""


@backfill.command()
@ASSET_NAME
@click.option(
    "--partitions", required=True, metavar="RANGE", help="2025-01-01..2025-01-31, one key, or keys with commas between."
)
@click.option("--max-parallel", type=click.IntRange(min=1), default=4, show_default=True, help="Partitions at once.")
@click.option("--force", is_flag=True, help="Make those again that were made before.")
@click.option("--id", metavar="ID", help="Of your own: the same id again starts nothing twice.")
@click.option("--detach", is_flag=True, help="Leave it to the service, and return at once.")
@BY
@click.pass_context
def start(
    context: click.Context,
    name: str,
    partitions: str,
    max_parallel: int,
    force: bool,
    id: str | None,
    detach: bool,
    by: str | None,
) -> int:
    """Make an asset or selection for many partitions, and follow it."""
    settings = settings_of(context)
    worker = client_of(settings, needs_app=True) if detach else worker_of(settings)
    with worker as at:
        asked = Reader.of(at, settings).asked(name, partitions)
        row = at.backfills.start(name, asked, max_parallel=max_parallel, force=force, id=id, by=by)
        return _told(row if detach else _followed(at.backfills, row.id), settings)


@backfill.command()
@ID
@click.pass_context
def wait(context: click.Context, id: str) -> int:
    """Follow a backfill to its end; where no service makes it, make it."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True, looks=True) as client:
        client.backfills.get(id)
    with worker_of(settings) as at:
        return _told(_followed(at.backfills, id), settings)


@backfill.command("list")
@status_option(BackfillStatus)
@page_options
@click.pass_context
def list_(context: click.Context, status: str | None, limit: int, cursor: str | None) -> None:
    """List all backfills, newest first."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_rows(client.backfills.list(status=status, limit=limit, cursor=cursor), BACKFILL, as_json=settings.json)


@backfill.command()
@click.argument("id", required=False, metavar="[ID]")
@status_option(BackfillStatus)
@page_options
@click.pass_context
def status(context: click.Context, id: str | None, status: str | None, limit: int, cursor: str | None) -> None:
    """Show a backfill with the partitions that failed; without an ID, list all, newest first."""
    if id is None:
        context.invoke(list_, status=status, limit=limit, cursor=cursor)
        return
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        row = client.backfills.get(id)
        lost = client.backfills.partitions(id, status=PartitionStatus.FAILED)
    if settings.json:
        print_json({**BACKFILL.document(row), "failures": [BACKFILL_PARTITION.document(each) for each in lost]})
        return
    print_row(row, BACKFILL, as_json=False)
    if lost:
        print_rows(lost[:SHOWN], BACKFILL_PARTITION, as_json=False)


@backfill.command()
@ID
@BY
@click.pass_context
def pause(context: click.Context, id: str, by: str | None) -> None:
    """Ask for no more runs; those under way go on."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.backfills.pause(id, by=by), BACKFILL, as_json=settings.json)


@backfill.command()
@ID
@BY
@click.pass_context
def resume(context: click.Context, id: str, by: str | None) -> None:
    """Let a paused backfill go on."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.backfills.resume(id, by=by), BACKFILL, as_json=settings.json)


@backfill.command()
@ID
@BY
@click.pass_context
def cancel(context: click.Context, id: str, by: str | None) -> None:
    """End a backfill and its runs."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.backfills.cancel(id, by=by), BACKFILL, as_json=settings.json)


@backfill.command()
@ID
@BY
@click.pass_context
def retry(context: click.Context, id: str, by: str | None) -> None:
    """Try the partitions that failed again, as new runs."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.backfills.retry_failed(id, by=by), BACKFILL, as_json=settings.json)


# By the name of the call too, as people know it who come from Python.
backfill.add_command(retry, "retry-failed")


def _followed(group: Backfills, id: str) -> Backfill:
    """The row of a backfill at its end; a terminal sees how far it is."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(id, total=None, told="")

        def show(row: Backfill) -> None:
            told = f"{row.failed} failed" if row.failed else str(row.status)
            bar.update(task, description=row.asset, completed=row.done, total=row.total, told=told)

        try:
            return group.wait(id, progress=show)
        except KeyboardInterrupt:
            click.echo(f"it is not finished: `flowstone backfill wait {id}` goes on, `… cancel {id}` ends it", err=True)
            raise click.Abort from None


def _told(row: Backfill, settings: Settings) -> int:
    print_row(row, BACKFILL, as_json=settings.json)
    return int(row.status in (BackfillStatus.FAILED, BackfillStatus.CANCELLED))
