"""`flowstone check`: whether the whole pipeline holds together, without starting anything."""

import click

from flowstone.cli.loading import load_pipeline
from flowstone.cli.output import print_error, print_json
from flowstone.cli.settings import Command, settings_of
from flowstone.errors import FlowstoneError, ValidationError

__all__ = ["check"]


@click.command(cls=Command)
@click.pass_context
def check(context: click.Context) -> int:
    """Check the pipeline: every problem at once, nothing is started."""
    settings = settings_of(context)
    pipeline = load_pipeline(settings)
    try:
        pipeline.check()
    except ValidationError as error:
        return _refused(error, as_json=settings.json)
    found = {
        "pipeline": pipeline.name,
        "assets": len(pipeline.assets),
        "schedules": len(pipeline.schedules),
        "sensors": len(pipeline.sensors),
    }
    if settings.json:
        print_json(found)
    else:
        line = "{pipeline}: no problem in {assets} assets, {schedules} schedules, {sensors} sensors"
        click.echo(line.format(**found))
    return 0


def _refused(error: ValidationError, *, as_json: bool) -> int:
    problems: tuple[FlowstoneError, ...] = error.problems or (error,)
    if as_json:
        rows = [{"type": problem.type, "message": str(problem)} for problem in problems]
        print_json({"error": {"type": error.type, "message": str(error), "problems": rows}})
    for problem in problems:
        print_error(problem.type, str(problem), as_json=False)
    return 1
