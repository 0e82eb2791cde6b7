"""`flowstone doctor`: what is configured and where that came from, what is installed, and what is wrong with it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from flowstone import durations
from flowstone.cli.loading import load_pipeline
from flowstone.cli.output import print_json, print_table
from flowstone.cli.settings import Command, Settings, settings_of
from flowstone.config import FOREVER, NAMES, Config, unknown_variables
from flowstone.errors import FlowstoneError
from flowstone.resources.resource import Resource, presentable, resolved
from flowstone.state.inspection import inspect, sqlite_version
from flowstone.zones import tzdata_version

__all__ = ["doctor"]

PACKAGES = (
    *("pykka", "gevent", "greenlet", "croniter", "peewee", "click", "rich", "boto3", "requests"),
    *("psycopg", "pytest"),
)
OPTIONAL = {"psycopg", "pytest"}


@click.command(cls=Command)
@click.pass_context
def doctor(context: click.Context) -> int:
    """Show each setting with where it came from, the versions in use, and what is wrong; 1 when something is."""
    settings = settings_of(context)
    config = settings.config
    values = [{"name": name, "value": _shown(config, name), "source": config.source(name)} for name in NAMES]
    versions, problems = dict(_versions()), [*_problems(settings), *unknown_variables()]
    resources = {name: presentable(name, value) for name, value in _resources(settings).items()}
    if settings.json:
        print_json({"configuration": values, "resources": resources, "versions": versions, "problems": problems})
    else:
        print_table("configuration", ("name", "value", "from"), ([*row.values()] for row in values))
        if resources:
            print_table("resources", ("name", "value"), resources.items())
        print_table("versions", ("what", "version"), versions.items())
        print_table("problems", None, ((problem,) for problem in problems or ["none"]))
    return int(bool(problems))


def _shown(config: Config, name: str) -> object:
    value = config.shown(name)
    if name != "retention":
        return value
    return "forever" if value == FOREVER else durations.text(value)


def _versions() -> Iterator[tuple[str, str | None]]:
    yield "flowstone", _installed("flowstone")
    yield "python", platform.python_version()
    yield "platform", platform.platform()
    yield "sqlite", sqlite_version()
    yield "tzdata", tzdata_version()
    for package in PACKAGES:
        yield package, _installed(package)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _problems(settings: Settings) -> Iterator[str]:
    """What would keep a service from starting here."""
    yield from (f"{name} is not installed" for name in PACKAGES if name not in OPTIONAL and not _installed(name))
    yield from _tried("app", lambda: _check_app(settings))
    for name, resource in _resources(settings).items():
        if isinstance(resource, Resource):
            yield from _tried(f"resource {name}", partial(_check_resource, resource))
    yield from _tried("store", lambda: _check_store(settings))


def _tried(what: str, check: Callable[[], str | None]) -> Iterator[str]:
    try:
        found = check()
    except FlowstoneError as error:
        found = str(error)
    if found:
        yield f"{what}: {found}"


def _check_app(settings: Settings) -> str | None:
    if settings.config.app:
        load_pipeline(settings).check()
    return None


def _resources(settings: Settings) -> dict[str, Any]:
    """What the pipeline brings along; nothing when it can't be loaded, which is a problem of its own."""
    try:
        return load_pipeline(settings).resources if settings.config.app else {}
    except FlowstoneError:
        return {}


def _check_resource(resource: Resource) -> None:
    resolved(resource)


def _check_store(settings: Settings) -> str | None:
    view = inspect(settings.config.store)
    return f"{view.url} is newer than this release of FlowStone" if view.unknown else None
