"""`flowstone approval`: what waits for people, and what they say of it, while a service runs or not."""

from typing import Any

import click

from flowstone.cli.kinds import APPROVAL
from flowstone.cli.loading import client_of
from flowstone.cli.options import BY, JSON
from flowstone.cli.output import print_row, print_rows
from flowstone.cli.settings import Group, settings_of

__all__ = ["approval"]

ID = click.argument("id", metavar="ID")
REASON = click.option("--reason", metavar="TEXT", help="Why, for those who look at it later.")


@click.group(cls=Group)
def approval() -> None:
    """List what waits for people, and decide."""


@approval.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List what waits for a decision, the oldest question first."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_rows(client.approvals.list_pending(), APPROVAL, as_json=settings.json)


@approval.command()
@ID
@click.pass_context
def show(context: click.Context, id: str) -> None:
    """Show one approval, decided or not."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.approvals.get(id), APPROVAL, as_json=settings.json)


@approval.command()
@ID
@REASON
@BY
@click.pass_context
def approve(context: click.Context, id: str, reason: str | None, by: str | None) -> None:
    """Let the asset go on."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.approvals.approve(id, by=by, reason=reason), APPROVAL, as_json=settings.json)


@approval.command()
@ID
@REASON
@BY
@click.pass_context
def reject(context: click.Context, id: str, reason: str | None, by: str | None) -> None:
    """Let the asset fail."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.approvals.reject(id, by=by, reason=reason), APPROVAL, as_json=settings.json)


@approval.command()
@ID
@click.argument("payload", type=JSON, metavar="JSON")
@REASON
@BY
@click.pass_context
def modify(context: click.Context, id: str, payload: Any, reason: str | None, by: str | None) -> None:
    """Let the asset go on with something to heed."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        row = client.approvals.modify(id, payload=payload, by=by, reason=reason)
        print_row(row, APPROVAL, as_json=settings.json)


@approval.command()
@ID
@REASON
@BY
@click.pass_context
def escalate(context: click.Context, id: str, reason: str | None, by: str | None) -> None:
    """Pass the question on: another deadline, as far away as the first one was."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        print_row(client.approvals.escalate(id, by=by, reason=reason), APPROVAL, as_json=settings.json)
