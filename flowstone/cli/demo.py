"""`flowstone demo`: FlowStone at work on four years of weather, with crashes on purpose and a proof at the end."""

from pathlib import Path

import click

from flowstone.cli.output import print_json
from flowstone.cli.settings import Command, settings_of
from flowstone.demo.report import export, show
from flowstone.demo.show import perform

__all__ = ["demo"]


@click.command(cls=Command)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder to watch. Files of your own, one a day, named 2025-01-31.csv, under the header "
    "date,precipitation,temp_max,temp_min,wind,weather; an empty one is filled with the weather of Seattle.",
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.svg", help="Save as SVG.")
@click.pass_context
def demo(context: click.Context, data: Path | None, picture: Path | None) -> int:
    """Watch days of weather arrive as files and become a report, while parts of FlowStone are crashed on purpose.

    With --store a second start goes on where the first ended.
    """
    settings = settings_of(context)
    # What a project's file says is the store of its own service, which is no place for a demo.
    asked = settings.config.source("store") in ("--store", "FLOWSTONE_STORE")
    proof = perform(settings.config.store if asked else None, data, live=not settings.json)
    if settings.json:
        print_json(proof)
    else:
        show(proof)
    if picture:
        export(proof, picture)
    return 0 if proof["holds"] else 1
