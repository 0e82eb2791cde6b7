"""`flowstone run`: serves a pipeline until SIGTERM or SIGINT, then shuts down in order."""

import click

from flowstone.cli.loading import load_pipeline
from flowstone.cli.output import print_error
from flowstone.cli.settings import Command, setting, settings_of
from flowstone.errors import RuntimeStopped
from flowstone.runtime import Runtime

__all__ = ["run"]

GAVE_UP = 70


@click.command(cls=Command)
@setting("--backend", metavar="NAME", help="auto, greenlets or threads.")
@setting("--max-concurrency", type=int, metavar="N", help="Runs and user threads at once.")
@setting("--max-queue", type=int, metavar="N", help="Unfinished runs past which sensors pause.")
@setting("--io-manager", metavar="NAME", help="Where values go: files or memory.")
@setting("--scheduler/--no-scheduler", help="Whether schedules fire here.")
@setting("--sensors/--no-sensors", help="Whether sensors are polled here.")
@click.pass_context
def run(context: click.Context) -> int:
    """Serve the pipeline until SIGTERM, then shut down in order."""
    settings = settings_of(context)
    pipeline = load_pipeline(settings)
    with Runtime(pipeline, config=settings.config) as runtime:
        try:
            runtime.run_forever(ready=lambda: click.echo(f"{pipeline.name}: serving until SIGTERM or Ctrl-C", err=True))
        except RuntimeStopped as error:
            print_error(error.type, str(error), as_json=settings.json)
            return GAVE_UP
    return 0
