"""The options that every command takes, before or after its name, and the configuration that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import click

from flowstone.config import Config, load

__all__ = ["Command", "Group", "Settings", "setting", "settings_of"]


@dataclass
class Settings:
    """What the flags of this call say: `json`, and `given` by name of setting."""

    json: bool = False
    given: dict[str, object] = field(default_factory=dict)

    @cached_property
    def config(self) -> Config:
        """The configuration: flags, then the environment, then a file, then defaults.

        Raises:
            ConfigError: one of these is wrong.
        """
        return load(self.given)


def settings_of(context: click.Context) -> Settings:
    """The settings of this call of the command line; made when first asked for."""
    settings = context.find_root().ensure_object(Settings)
    assert isinstance(settings, Settings)
    return settings


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # An option that was not given must not undo the one given before the command.
    if value is not None:
        settings_of(context).given[str(parameter.name)] = value


def _ask_for_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        settings_of(context).json = True


def setting(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A flag for a setting of the configuration; the function gets it from there, not as a parameter."""
    return click.option(*names, expose_value=False, callback=_keep, default=None, **options)


def shared_options() -> list[click.Parameter]:
    """Fresh copies of the shared options, for one command."""
    common: dict[str, Any] = {"expose_value": False, "default": None, "callback": _keep}
    return [
        click.Option(["--app"], metavar="MODULE:PIPELINE", help="The pipeline (FLOWSTONE_APP).", **common),
        click.Option(
            ["--store"], metavar="URL", help="sqlite:///path or postgresql://… (FLOWSTONE_STORE).", **common
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_ask_for_json, help="Print one JSON document."
        ),
    ]


class Command(click.Command):
    """A command that takes the shared options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())


class Group(click.Group):
    """A group of commands, each of which, like the group, takes the shared options too."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())
