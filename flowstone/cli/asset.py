"""`flowstone asset`: what a pipeline can make, from what, how it stands, and making it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from flowstone.cli.kinds import ASSET, LINEAGE, RECORD
from flowstone.cli.loading import client_of, load_pipeline
from flowstone.cli.options import ASSET_NAME
from flowstone.cli.output import print_json, print_row, print_rows
from flowstone.cli.partition import Reader
from flowstone.cli.settings import Group, Settings, settings_of
from flowstone.cli.why import print_why
from flowstone.cli.work import worker_of
from flowstone.core.catalog import Catalog
from flowstone.core.drawing import as_mermaid, as_svg, as_text

__all__ = ["asset"]

DRAWINGS: Mapping[str, Callable[..., str]] = {"text": as_text, "mermaid": as_mermaid, "svg": as_svg}
ASSET_PARTITION = click.option(
    "--partition", metavar="P", help="As its set reads it; without one 2025-01-15 is the day, i:42 the number."
)


@click.group(cls=Group)
def asset() -> None:
    """List, make, draw and explain assets."""


@asset.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """List the assets of the pipeline, in the order in which they are defined."""
    settings = settings_of(context)
    print_rows(load_pipeline(settings).assets, ASSET, as_json=settings.json)


@asset.command()
@ASSET_NAME
@ASSET_PARTITION
@click.option("--upstream", is_flag=True, help="With all that it depends on, as in +NAME.")
@click.option("--force", is_flag=True, help="Although another run has just made it.")
@click.option("--run-key", metavar="KEY", help="Of your own: the same key again is the same run.")
@click.pass_context
def materialize(
    context: click.Context, name: str, partition: str | None, upstream: bool, force: bool, run_key: str | None
) -> None:
    """Make an asset or a selection and wait: by the service that holds the store, else in this process."""
    settings = settings_of(context)
    asked = f"+{name}" if upstream else name
    with worker_of(settings) as at:
        wanted = Reader.of(at, settings).meant(asked, partition)
        record = at.materialize(asked, wanted, force=force, **({} if run_key is None else {"run_key": run_key}))
    print_row(record, RECORD, as_json=settings.json)


@asset.command()
@ASSET_NAME
@ASSET_PARTITION
@click.option(
    "--direction",
    type=click.Choice(["upstream", "downstream", "impact"]),
    default="upstream",
    show_default=True,
    help="Made from what, or what was made from it.",
)
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Steps to go; all by default.")
@click.pass_context
def lineage(context: click.Context, name: str, partition: str | None, direction: str, depth: int | None) -> None:
    """Show from what a value was made, or what was made from it."""
    settings = settings_of(context)
    with client_of(settings, looks=True) as client:
        walk = partial(getattr(client.lineage, direction), name, depth=depth)
        nodes = walk(Reader.of(client, settings).looked_for(name, partition, walk))
        print_rows(nodes, LINEAGE, as_json=settings.json)


@asset.command()
@ASSET_NAME
@ASSET_PARTITION
@click.pass_context
def why(context: click.Context, name: str, partition: str | None) -> None:
    """Say why an asset's value was made, was not made, or is stale."""
    settings = settings_of(context)
    with client_of(settings, needs_app=True, looks=True) as client:
        print_why(client.why(name, Reader.of(client, settings).made(name, partition)), settings)


@asset.command()
@click.argument("selection", default="*")
@click.option("--format", "drawing", type=click.Choice(list(DRAWINGS)), default="text", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of stdout.")
@click.option("--status", is_flag=True, help="With how each asset stands, by the store.")
@ASSET_PARTITION
@click.pass_context
def graph(
    context: click.Context, selection: str, drawing: str, output: Path | None, status: bool, partition: str | None
) -> None:
    """Draw the graph of assets, or of a selection such as +report, as text, Mermaid or SVG."""
    settings = settings_of(context)
    pipeline = load_pipeline(settings)
    pipeline.check()
    catalog = Catalog(pipeline.assets)
    names = catalog.select(selection)
    statuses = _statuses(settings, catalog, selection, partition) if status or partition is not None else {}
    if output is not None:
        output.write_text(f"{DRAWINGS[drawing](catalog.graph, assets=names, statuses=statuses)}\n", "utf-8")
    if settings.json:
        needs = catalog.graph.dependencies
        print_json([{"name": each, "depends_on": needs(each), "status": statuses.get(each)} for each in names])
    elif output is None:
        click.echo(DRAWINGS[drawing](catalog.graph, assets=names, statuses=statuses))


def _statuses(settings: Settings, catalog: Catalog, selection: str, partition: str | None) -> dict[str, str]:
    """How each asset stands, of those of which it is a partition."""
    with client_of(settings, needs_app=True, looks=True) as client:
        if catalog.partition_set(selection) is not None:
            return client.statuses(selection, partition)
        wanted = Reader(client, catalog).made(catalog.select(selection)[-1], partition)
        return client.statuses(selection, wanted)
