"""`flowstone tree`: the supervision tree that a runtime of this pipeline would have; nothing is started."""

from types import SimpleNamespace
from typing import Any, cast

import click
from rich.console import Console
from rich.tree import Tree

from actors import ChildSpec, DynamicSupervisor
from flowstone.cli.loading import load_pipeline
from flowstone.cli.output import print_json
from flowstone.cli.settings import Command, settings_of
from flowstone.config import FOREVER
from flowstone.pipeline import Pipeline
from flowstone.runs.services import Services
from flowstone.assembly import Definitions
from flowstone.tree import root_spec

__all__ = ["tree"]

NO_RESOURCES = SimpleNamespace(kept=())
# What a tree is planned with: specs only carry these to the actors, which are never started here.
NO_SERVICES = cast(Services, SimpleNamespace(database=None, membership=None, resources=NO_RESOURCES))
NO_DEFINITIONS = cast(Definitions, SimpleNamespace(rules=None, sensors=None, handlers=None))


@click.command(cls=Command)
@click.pass_context
def tree(context: click.Context) -> int:
    """Show the tree of actors that would run."""
    settings = settings_of(context)
    pipeline = load_pipeline(settings)
    pipeline.check()
    keep = settings.config.retention
    retention = None if keep == FOREVER else keep
    spec = root_spec(NO_SERVICES, NO_DEFINITIONS, scheduler=True, sensors=True, retention=retention)
    root = _row(spec, pipeline)
    if settings.json:
        print_json([root])
    else:
        Console().print(_drawing(root))
    return 0


def _row(spec: ChildSpec, pipeline: Pipeline) -> dict[str, Any]:
    children = [_row(child, pipeline) for child in spec.kwargs.get("children", ())]
    if spec.id == "sensors":
        children = [{"name": sensor.name, "class": sensor.type.__name__, "children": []} for sensor in pipeline.sensors]
    return {"name": spec.id, "class": spec.cls.__name__, "note": _note(spec, pipeline), "children": children}


def _note(spec: ChildSpec, pipeline: Pipeline) -> str:
    if spec.id == "scheduler":
        return f"{len(pipeline.schedules)} schedules"
    if spec.id == "materializers":
        return "one for each run in progress"
    if issubclass(spec.cls, DynamicSupervisor):
        return f"{len(pipeline.sensors)} sensors, a restart budget each"
    return str(spec.kwargs.get("strategy", ""))


def _drawing(row: dict[str, Any], above: Tree | None = None) -> Tree:
    note = f" [dim]{row['note']}[/]" if row.get("note") else ""
    label = f"{row['name']} [cyan]{row['class']}[/]{note}"
    drawn = Tree(label) if above is None else above.add(label)
    for child in row["children"]:
        _drawing(child, drawn)
    return drawn
