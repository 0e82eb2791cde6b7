"""`flowstone audit`: who did what to what."""

from datetime import datetime

import click

from flowstone.cli.kinds import AUDIT
from flowstone.cli.loading import store_client
from flowstone.cli.options import INSTANT, page_options
from flowstone.cli.output import print_rows
from flowstone.cli.settings import Group, settings_of

__all__ = ["audit"]


@click.group(cls=Group)
def audit() -> None:
    """Who did what to what."""


@audit.command("list")
@click.option("--event-type", metavar="TYPE", help="Only these, such as schedule.paused.")
@click.option("--actor", metavar="WHO", help="Only what this one did.")
@click.option("--resource", metavar="WHAT", help="Only what was done to this, such as schedule:nightly.")
@click.option("--since", type=INSTANT, metavar="INSTANT", help="Only rows at or after it.")
@page_options
@click.pass_context
def list_(
    context: click.Context,
    event_type: str | None,
    actor: str | None,
    resource: str | None,
    since: datetime | None,
    limit: int,
    cursor: str | None,
) -> None:
    """List what was done, newest first."""
    settings = settings_of(context)
    with store_client(settings) as client:
        rows = client.audit.list(
            event_type=event_type, actor=actor, resource=resource, since=since, limit=limit, cursor=cursor
        )
        print_rows(rows, AUDIT, as_json=settings.json)
