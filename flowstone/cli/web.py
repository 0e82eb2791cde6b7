"""`flowstone web`: takes messages for sensors over HTTP, beside the service or alone, until SIGTERM or SIGINT."""

from __future__ import annotations

import logging

import click

from flowstone.cli.loading import client_of
from flowstone.cli.settings import Command, settings_of
from flowstone.ending import Ending
from flowstone.errors import ConfigError

__all__ = ["web"]


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="The largest message."
)
@click.pass_context
def web(context: click.Context, host: str, port: int, max_bytes: int) -> None:
    """Serve POST /sensors/NAME: messages to sensors, answered after their commit."""
    try:
        from flowstone.web import Server, create_app
    except ImportError as error:
        raise ConfigError(f"flowstone web needs the extra web: pip install 'flowstone[web]' ({error})") from error
    with client_of(settings_of(context), needs_app=True) as client, Ending().heeded() as ended:
        # It tells of each message that waits for a thread, however shortly.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        server = Server(create_app(client, max_bytes=max_bytes), host=host, port=port)
        server.start()
        click.echo(f"serving {server.url}/sensors/NAME until SIGTERM or Ctrl-C", err=True)
        ended()
        server.close()
