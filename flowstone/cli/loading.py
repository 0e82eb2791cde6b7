"""How `--app module:pipeline` becomes a pipeline, and a pipeline and `--store` a client of the store."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from types import ModuleType

import click

from flowstone.cli.settings import Settings
from flowstone.client import Client
from flowstone.errors import ConfigError, FlowstoneError, StoreUnavailable, did_you_mean, shown
from flowstone.pipeline import Pipeline
from flowstone.state.url import Kind, place_of

__all__ = ["client_of", "load_pipeline", "names_in", "require_store", "store_client"]


def load_pipeline(settings: Settings) -> Pipeline:
    """The pipeline that `--app` names; its module is looked for in the current directory too.

    Raises:
        ConfigError: nothing was named, the module can't be imported, or it has no such pipeline.
    """
    app = settings.config.app
    if not app:
        raise ConfigError("expected --app MODULE:PIPELINE (or FLOWSTONE_APP), got nothing; try --app shop:shop")
    module_name, colon, attribute = app.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f"expected --app to be MODULE:PIPELINE, got: {shown(app)}", app=app)
    return _pipeline(_module(module_name), attribute)


def client_of(settings: Settings, *, needs_app: bool = False, looks: bool = False) -> Client:
    """A client of the store, for what the pipeline defines too when one is named.

    Who only `looks`, at a store that is not there yet, gets a client of an empty one in memory, and stderr says so.

    Raises:
        ConfigError: a pipeline is needed and none is named, or the one that is named can't be loaded.
        StoreUnavailable: no pipeline is named, and there is no store yet.
    """
    if not (needs_app or settings.config.app):
        return store_client(settings)
    pipeline = load_pipeline(settings)
    try:
        require_store(settings.config.store)
    except StoreUnavailable as missing:
        if looks:
            click.echo(str(missing), err=True)
            return Client(pipeline, store="memory://", config=settings.config)
    return Client(pipeline, config=settings.config)


def store_client(settings: Settings) -> Client:
    """A client of what is in the store already, whatever defined it.

    Raises:
        StoreUnavailable: there is no store yet: a command that only looks makes none.
    """
    require_store(settings.config.store)
    return Client(config=settings.config)


def names_in(settings: Settings, names: Callable[[Client], Iterable[str]]) -> list[str]:
    """Names that the store knows, to complete a word with; none when there is no store to ask, whatever the reason."""
    try:
        with store_client(settings) as client:
            return list(names(client))
    except FlowstoneError:
        return []


def require_store(url: str) -> None:
    """Refuse to look at a store that is not there yet: a command that only looks makes none.

    Raises:
        StoreUnavailable: there is no such file.
        ConfigError: the URL is wrong.
    """
    place = place_of(url)
    if place.kind is Kind.SQLITE and not os.path.exists(str(place.path)):
        message = f"there is no store at {place.shown} yet: `flowstone run` or `flowstone db migrate` makes one"
        raise StoreUnavailable(message, retryable=False, url=place.shown)


def _module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    # Whatever the user's module raises ends here, as one error that names its place; so does a script that exits.
    except (Exception, SystemExit) as error:
        raise ConfigError(f"--app: module {name!r} can't be imported: {_told(error)}", module=name) from error


def _told(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and "importlib" not in frames[-1].filename else ""
    return f"{type(error).__name__}: {error}{place}"


def _pipeline(module: ModuleType, attribute: str) -> Pipeline:
    found = getattr(module, attribute, None)
    if isinstance(found, Pipeline):
        return found
    pipelines = [name for name, value in vars(module).items() if isinstance(value, Pipeline)]
    if found is None:
        hint = did_you_mean(attribute, pipelines)
        raise ConfigError(f"--app: module {module.__name__!r} has no {attribute!r}{hint}", attribute=attribute)
    raise ConfigError(
        f"--app: expected {module.__name__}:{attribute} to be a Pipeline, got: {type(found).__name__}; "
        f"pipelines there: {', '.join(pipelines) or 'none'}",
        attribute=attribute,
    )
