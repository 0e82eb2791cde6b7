"""`flowstone why`: why something ran, did not run, or is stale, in a sentence."""

import click

from flowstone.cli.kinds import WHY
from flowstone.cli.loading import client_of
from flowstone.cli.output import print_json
from flowstone.cli.partition import Reader
from flowstone.cli.settings import Command, Settings, settings_of
from flowstone.why import Why

__all__ = ["print_why", "why"]


@click.command(cls=Command)
@click.argument("item", metavar="ID")
@click.option("--partition", metavar="P", help="Of the asset, where it is one.")
@click.pass_context
def why(context: click.Context, item: str, partition: str | None) -> None:
    """Say why a run, an evaluation, a tick, an approval or an asset's value is as it is; of an asset with --app.

    The name of a schedule or sensor stands for its newest tick or evaluation.
    """
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        wanted = None if partition is None else Reader.of(client, settings).made(item, partition)
        print_why(client.why(item, wanted), settings)


def print_why(answer: Why, settings: Settings) -> None:
    """Prints the sentence, or its document."""
    if settings.json:
        print_json({**WHY.document(answer), "sentence": str(answer)})
    else:
        click.echo(str(answer))
