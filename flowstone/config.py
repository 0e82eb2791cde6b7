"""Configuration: what a deployment says of its runtime, and which place wins where several say something.

An argument (of `Runtime`, of `Client`) or a flag wins over `FLOWSTONE_<NAME>` in the environment, that over
`flowstone.toml`, or else the table `[tool.flowstone]` of `pyproject.toml`, in the current directory, and that over the
default. A variable that is empty says nothing. Every value keeps where it came from, for whoever asks why it is so.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from flowstone import durations
from flowstone.errors import ConfigError, ValidationError, did_you_mean, shown

__all__ = ["DEFAULT", "FOREVER", "NAMES", "PREFIX", "Config", "chosen", "load", "unknown_variables"]

PREFIX = "FLOWSTONE_"
DEFAULT = "default"
"""Where a value came from that nobody gave."""

FOREVER = math.inf
"""The retention that nothing outlives: `forever` in text."""

_BACKENDS = ("auto", "greenlets", "threads")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)|(?<=password=)[^&]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is configured; `sources` tells of each value where it came from.

    - `app` (None): `module:pipeline`
    - `store` ("sqlite:///flowstone.db"): the URL of the store
    - `backend` ("auto"), `max_concurrency` (32), `max_queue` (10,000), `io_manager` (None), `scheduler` and `sensors`
      (True), `namespace` ("default"), `secret` (""): as of `Runtime`
    - `retention` (a year, in seconds): how long history is kept; `FOREVER` keeps all of it
    """

    app: str | None = None
    store: str = "sqlite:///flowstone.db"
    backend: str = "auto"
    max_concurrency: int = 32
    max_queue: int = 10_000
    io_manager: str | None = None
    scheduler: bool = True
    sensors: bool = True
    namespace: str = "default"
    secret: str = ""
    retention: float = 365 * 86_400.0
    sources: Mapping[str, str] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """Where a value came from: `default`, a flag, a variable or a file."""
        return self.sources.get(name, DEFAULT)

    def shown(self, name: str) -> Any:
        """A value as people and logs may see it: secrets and passwords are masked."""
        value = getattr(self, name)
        if name == "secret":
            return "***" if value else ""
        return _PASSWORD.sub("***", value) if name == "store" and "://" in value else value


NAMES = tuple(each.name for each in fields(Config) if each.name != "sources")
"""The names of all settings, in order."""


def load(
    given: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Config:
    """The configuration of a process; `given` are arguments and flags, where None says nothing.

    Raises:
        ConfigError: a value is wrong, a file can't be read, or it has a key that is no setting.
    """
    variables = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, found in (
        *_files(Path.cwd() if directory is None else directory),
        *(((PREFIX + name.upper()), {name: variables.get(PREFIX + name.upper()) or None}) for name in NAMES),
        *((f"--{name.replace('_', '-')}", {name: value}) for name, value in (given or {}).items()),
    ):
        for name, value in found.items():
            if value is not None:
                values[name] = _read(name, value, source)
                sources[name] = source
    return Config(**values, sources=sources)


def chosen(config: Config | None = None, /, **given: Any) -> dict[str, Any]:
    """Options of a call: what was given, and in place of each None what is configured, else the default.

    With a `config` neither the environment nor a file is read.

    Raises:
        ConfigError: what is configured is wrong; the environment and files are read where something was not given.
        ValidationError: what is given as `config` is none.

    >>> chosen(Config(namespace="tests"), namespace=None, secret="s")
    {'namespace': 'tests', 'secret': 's'}
    """
    if config is not None and not isinstance(config, Config):
        raise _refused("expected config to be a Config", config)
    if None not in given.values():
        return given
    config = load() if config is None else config
    return {name: getattr(config, name) if value is None else value for name, value in given.items()}


def unknown_variables(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Variables that are no setting but read like one, each with what was meant, for people.

    >>> unknown_variables({"FLOWSTONE_STROE": "memory://", "FLOWSTONE_OTHER_TOOL": "1"})
    ("FLOWSTONE_STROE is no setting; did you mean 'FLOWSTONE_STORE'?",)
    """
    variables = os.environ if environment is None else environment
    known = [name.upper() for name in NAMES]
    strangers = sorted(name.removeprefix(PREFIX) for name in variables if name.startswith(PREFIX))
    # All of them begin alike, so that only the rest of a name tells which one was meant.
    meant = {name: get_close_matches(name, known, n=1) for name in strangers if name not in known}
    return tuple(
        f"{PREFIX}{name} is no setting; did you mean '{PREFIX}{near[0]}'?" for name, near in meant.items() if near
    )


def _files(directory: Path) -> tuple[tuple[str, Mapping[str, object]], ...]:
    """What the file of a directory says, under its name; nothing when there is none."""
    own, project = directory / "flowstone.toml", directory / "pyproject.toml"
    if own.is_file():
        return ((own.name, _known(own.name, _parsed(own))),)
    tools = _parsed(project).get("tool", {}) if project.is_file() else {}
    table = tools.get("flowstone") if isinstance(tools, Mapping) else None
    if table is None:
        return ()
    place = f"{project.name} [tool.flowstone]"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: expected a table, got: {shown(table)}")
    return ((place, _known(place, table)),)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name} can't be read: {error}", path=str(path)) from error


def _known(place: str, table: Mapping[str, object]) -> Mapping[str, object]:
    for name in table:
        if name not in NAMES:
            hint = did_you_mean(name, NAMES) or f"; expected one of {', '.join(NAMES)}"
            raise ConfigError(f"{place}: {name!r} is no setting{hint}", name=name)
    return table


def _read(name: str, value: object, source: str) -> Any:
    try:
        return _READERS[name](value)
    except ValidationError as error:
        raise ConfigError(f"{source}: expected {name} to be {error}", name=name, source=source) from None


def _refused(expected: str, value: object) -> ValidationError:
    return ValidationError(f"{expected}, got: {shown(value)}")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _refused("text", value)
    return value


def _secret(value: object) -> str:
    if not isinstance(value, str):
        raise ValidationError(f"text, got: {type(value).__name__}")
    return value


def _backend(value: object) -> str:
    if value not in _BACKENDS:
        raise _refused(f"one of {', '.join(_BACKENDS)}", value)
    return str(value)


def _count(value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is not int or number < 1:
        raise _refused("an int of at least 1", value)
    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else ""
    if text not in _TRUE + _FALSE:
        raise _refused("true or false", value)
    return text in _TRUE


def _duration(value: object) -> float:
    try:
        return durations.seconds(value, "it")
    except ValidationError:
        raise _refused('a duration such as "12h" or "30d"', value) from None


def _retention(value: object) -> float:
    return FOREVER if value in ("forever", FOREVER) else _duration(value)


_READERS: Mapping[str, Callable[[object], Any]] = {
    "app": _text,
    "store": _text,
    "backend": _backend,
    "max_concurrency": _count,
    "max_queue": _count,
    "io_manager": _text,
    "scheduler": _switch,
    "sensors": _switch,
    "namespace": _text,
    "secret": _secret,
    "retention": _retention,
}
