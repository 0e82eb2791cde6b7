"""`flowstone runs`: the runs of a store, how to end one, how to ask for another like it, and who was refused one."""

from functools import partial

import click

from flowstone.cli.kinds import CONFLICT, MATERIALIZATION, RUN
from flowstone.cli.loading import client_of, store_client
from flowstone.cli.options import BY, PARTITION, page_options, status_option
from flowstone.cli.output import print_json, print_row, print_rows
from flowstone.cli.partition import found
from flowstone.cli.settings import Group, settings_of
from flowstone.core.run import RunStatus
from flowstone.errors import ValidationError

__all__ = ["runs"]


@click.group(cls=Group)
def runs() -> None:
    """List, show, cancel and retry runs; list conflicts of run keys."""


@runs.command("list")
@status_option(RunStatus)
@click.option("--asset", metavar="NAME", help="Only those of this asset or selection.")
@PARTITION
@page_options
@click.pass_context
def list_(
    context: click.Context,
    status: str | None,
    asset: str | None,
    partition: str | None,
    limit: int,
    cursor: str | None,
) -> None:
    """List runs, newest first."""
    settings = settings_of(context)
    with store_client(settings) as client:
        listed = partial(client.runs.list, asset=asset)
        wanted = found(partition, lambda reading: listed(partition=reading, limit=1))
        rows = listed(status=status, partition=wanted, limit=limit, cursor=cursor)
        print_rows(rows, RUN, as_json=settings.json)


@runs.command()
@click.argument("run_id")
@click.pass_context
def show(context: click.Context, run_id: str) -> None:
    """Show one run with its assets."""
    settings = settings_of(context)
    with store_client(settings) as client:
        run = client.runs.get(run_id)
    if settings.json:
        made = [MATERIALIZATION.document(each) for each in run.materializations]
        print_json({**RUN.document(run), "materializations": made})
    else:
        print_row(run, RUN, as_json=False)
        print_rows(run.materializations, MATERIALIZATION, as_json=False)


@runs.command()
@click.argument("run_id")
@click.option("--reason", metavar="TEXT", default="cancelled by hand", show_default=True, help="Why, for its row.")
@BY
@click.pass_context
def cancel(context: click.Context, run_id: str, reason: str, by: str | None) -> None:
    """Cancel a run that is not finished."""
    settings = settings_of(context)
    with store_client(settings) as client:
        cancelled = client.runs.cancel(run_id, reason=reason, by=by)
        run = client.runs.get(run_id)
    if not cancelled:
        raise ValidationError(f"expected a run that is not finished, got: {run_id}, which is {run.status}")
    print_row(run, RUN, as_json=settings.json)


@runs.command()
@click.argument("run_id")
@BY
@click.pass_context
def retry(context: click.Context, run_id: str, by: str | None) -> None:
    """Ask for a run like one that has finished; the service makes it, at once or when it is started."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True, looks=True) as client:
        print_row(client.runs.retry(run_id, by=by), RUN, as_json=settings.json)


@runs.command()
@page_options
@click.pass_context
def conflicts(context: click.Context, limit: int, cursor: str | None) -> None:
    """List requests that were refused since their run key stands for another run, newest first."""
    settings = settings_of(context)
    with store_client(settings) as client:
        print_rows(client.runs.conflicts(limit=limit, cursor=cursor), CONFLICT, as_json=settings.json)
