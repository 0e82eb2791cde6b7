"""FlowStone over HTTP: messages pushed to sensors. Needs the extra `web`."""

from flowstone.web.application import create_app
from flowstone.web.serving import Server

__all__ = ["Server", "create_app"]
