"""Options and types of arguments that several commands take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import click

from flowstone import durations
from flowstone.cli.loading import load_pipeline, names_in
from flowstone.cli.partition import readings
from flowstone.cli.settings import settings_of
from flowstone.client import Client
from flowstone.errors import FlowstoneError, PartitionError, ValidationError, shown

__all__ = [
    "ASSET_NAME",
    "BY",
    "DURATION",
    "INSTANT",
    "JSON",
    "PARTITION",
    "name_argument",
    "page_options",
    "status_option",
]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Instant(click.ParamType[datetime]):
    """An aware instant in ISO 8601, as `2025-01-15T02:00:00Z`."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant in UTC; one without an offset is refused."""
        try:
            instant = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            if instant.tzinfo is None:
                raise ValueError
        except ValueError:
            self.fail(f"expected an instant with its offset, as 2025-01-15T02:00:00Z, got: {shown(value)}", param, ctx)
        return instant.astimezone(UTC)


class Duration(click.ParamType[float]):
    """A duration, as `30d`, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        try:
            return durations.seconds(value, "it")
        except ValidationError:
            self.fail(f'expected a duration such as "12h" or "30d", got: {shown(value)}', param, ctx)


class JsonText(click.ParamType[Any]):
    """A value as JSON."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that the text stands for."""
        try:
            return json.loads(value)
        except ValueError as error:
            self.fail(f"expected JSON, got: {shown(value)} ({error}); quote it for the shell: '\"text\"'", param, ctx)


class PartitionText(click.ParamType[str]):
    """A partition to look for, as rows show it or as the store holds it."""

    name = "partition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text; one that begins as the store's own form does, and is none, is refused."""
        try:
            readings(value)
        except PartitionError as error:
            self.fail(str(error), param, ctx)
        return str(value)


INSTANT, DURATION, JSON = Instant(), Duration(), JsonText()


def name_argument(names: Callable[[Client], Iterable[str]]) -> Decorator:
    """`NAME`, which shells complete with the names that the store knows."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names_in(settings_of(context), names) if name.startswith(incomplete)]

    return click.argument("name", shell_complete=complete)


def _assets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the pipeline's assets that begin so; none when there is no pipeline to ask, whatever the reason."""
    try:
        return [each.name for each in load_pipeline(settings_of(context)).assets if each.name.startswith(incomplete)]
    except FlowstoneError:
        return []


MOST_ROWS = 1_000_000
"""Of a page."""

ASSET_NAME = click.argument("name", shell_complete=_assets)
PARTITION = click.option("--partition", type=PartitionText(), metavar="P", help="Only those of this partition.")
BY = click.option("--by", metavar="WHO", help="Who acts, for the audit; you by default.")


def status_option(statuses: type[StrEnum]) -> Decorator:
    """`--status`: one of these."""
    choice = click.Choice([status.value for status in statuses])
    return click.option("--status", type=choice, help="Only those of this status.")


def page_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--limit` and `--cursor`: which page of a history."""
    cursor = click.option("--cursor", metavar="CURSOR", help="Go on where an earlier page ended.")
    size = click.IntRange(1, MOST_ROWS)
    limit = click.option("--limit", type=size, default=50, show_default=True, help="Rows of a page.")
    return limit(cursor(function))
