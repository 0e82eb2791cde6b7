"""How `--app module:pipeline` becomes a pipeline."""

import importlib
import os
import sys
import traceback
from types import ModuleType

from flowstone.cli.settings import Settings
from flowstone.errors import ConfigError, did_you_mean, shown
from flowstone.pipeline import Pipeline

__all__ = ["load_pipeline"]


def load_pipeline(settings: Settings) -> Pipeline:
    """The pipeline that `--app` names; its module is looked for in the current directory too.

    Raises:
        ConfigError: nothing was named, the module can't be imported, or it has no such pipeline.
    """
    if not settings.app:
        raise ConfigError("expected --app MODULE:PIPELINE (or FLOWSTONE_APP), got nothing; try --app shop:shop")
    module_name, colon, attribute = settings.app.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f"expected --app to be MODULE:PIPELINE, got: {shown(settings.app)}", app=settings.app)
    return _pipeline(_module(module_name), attribute)


def _module(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    # Any exception of the user's module ends here, as one error that names its place.
    except Exception as error:
        raise ConfigError(f"--app: module {name!r} can't be imported: {_told(error)}", module=name) from error


def _told(error: Exception) -> str:
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
