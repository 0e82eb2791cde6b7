"""`flowstone metrics`: how a service keeps up, as the text that Prometheus scrapes."""

import click

from flowstone.cli.loading import client_of
from flowstone.cli.output import print_json
from flowstone.cli.settings import Command, settings_of

__all__ = ["metrics"]


@click.command(cls=Command)
@click.pass_context
def metrics(context: click.Context) -> None:
    """Print lags and counts, as Prometheus takes them."""
    settings = settings_of(context)
    with client_of(settings) as client:
        found = client.metrics()
    if settings.json:
        print_json([{"name": each.name, "labels": dict(each.labels), "value": each.value} for each in found])
    else:
        click.echo(str(found), nl=False)
