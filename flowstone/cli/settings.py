"""The options that every command takes, before or after its name: `--app`, `--store`, `--json`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

__all__ = ["Command", "Settings", "settings_of"]


@dataclass(slots=True)
class Settings:
    """What the shared options say; None where nothing was said."""

    app: str | None = None
    store: str | None = None
    json: bool = False


def settings_of(context: click.Context) -> Settings:
    """The settings of this call of the command line; made when first asked for."""
    settings = context.find_root().ensure_object(Settings)
    assert isinstance(settings, Settings)
    return settings


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # An option that was not given must not undo the one given before the command.
    if value:
        setattr(settings_of(context), str(parameter.name), value)


def shared_options() -> list[click.Parameter]:
    """Fresh copies of the shared options, for one command."""
    option: Callable[..., click.Option] = click.Option
    common: dict[str, Any] = {"expose_value": False, "callback": _keep}
    return [
        option(["--app"], metavar="MODULE:PIPELINE", envvar="FLOWSTONE_APP", help="The pipeline to serve.", **common),
        option(["--store"], metavar="URL", envvar="FLOWSTONE_STORE", help="memory:// or sqlite:///path.", **common),
        option(["--json"], is_flag=True, help="Print one JSON document.", **common),
    ]


class Command(click.Command):
    """A command that takes the shared options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())
