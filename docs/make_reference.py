"""The reference, made from docstrings: `python docs/make_reference.py` writes docs/reference.md, beside this file."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("reference.md")
PACKAGES = {
    "flowstone": "Definitions, the runtime, errors",
    "flowstone.io": "Where values are stored",
    "flowstone.sensors": "Sensors",
    "flowstone.testing": "Tests of pipelines",
    "flowstone.web": "Messages over HTTP",
    "actors": "Supervised actors",
    "actors.testing": "Tests of actors",
}
INTRODUCTION = """# Reference

What each public name does, as its docstring says; made by `python docs/make_reference.py`. The rules behind it stand in
the [semantics](semantics.md), the command line [on a page of its own](cli.md).
"""
GROUPS = "## Groups of calls\nThose of a runtime, as in `runtime.schedules.pause(…)`; a client has most of them.\n"
DEFAULT = re.compile(r"<(?:function|class|object|factory|.*? object at )[^<>]*>")


def reference() -> str:
    """The page as it ought to be."""
    parts = [INTRODUCTION]
    for package, title in PACKAGES.items():
        module = importlib.import_module(package)
        parts.append(f"## {package}\n{title}.\n")
        names = sorted(module.__all__, key=str.lower)
        parts += [section(f"{package}.{name}", getattr(module, name)) for name in names]
    parts.append(GROUPS)
    parts += [section(f"runtime.{name}", group) for name, group in groups()]
    return "\n".join(parts)


def groups() -> Iterator[tuple[str, type]]:
    """The groups of calls of a runtime, by the names of its properties."""
    runtime = importlib.import_module("flowstone.runtime").Runtime
    for name, found in sorted(inspect.getmembers(runtime, lambda member: isinstance(member, property))):
        if name.startswith("_"):
            continue
        answer = typing.get_type_hints(found.fget).get("return")
        if isinstance(answer, type) and answer.__module__.startswith("flowstone."):
            yield name, answer


def section(name: str, found: Any) -> str:
    """What is said of one name, with the methods of a class."""
    of_runtime = name.startswith("runtime.")  # which makes them, so that nobody else calls them
    lines = [f"### {name}", text_of(property(doc=found.__doc__) if of_runtime else found, name.rpartition(".")[2])]
    if isinstance(found, type) and not issubclass(found, BaseException | enum.Enum):
        for method, member in methods(found):
            lines += [f"#### {name.rpartition('.')[2]}.{method}", text_of(member, method)]
    return "\n".join(lines)


def methods(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class that say what they do, in order of their names."""
    for name, member in inspect.getmembers_static(owner):
        if name.startswith("_"):
            continue
        member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        ours = getattr(member, "fget", member)
        if isinstance(member, property) or inspect.isfunction(member):
            if ours.__module__.partition(".")[0] in ("flowstone", "actors") and inspect.getdoc(member):
                yield name, member


def text_of(found: Any, name: str) -> str:
    """The signature and the docstring, as text that no one runs."""
    return f"```text\n{signature(found, name)}\n\n{inspect.getdoc(found) or ''}\n```\n"


def signature(found: Any, name: str) -> str:
    """How it is called: names and defaults, without the types, which each version of Python prints in its own way."""
    if isinstance(found, property) or isinstance(found, type) and issubclass(found, BaseException | enum.Enum):
        return name
    try:
        called = inspect.signature(found)
    except (TypeError, ValueError):
        return name
    plain = [p.replace(annotation=p.empty) for p in called.parameters.values() if p.name != "self"]
    text = str(called.replace(parameters=plain, return_annotation=called.empty))
    return f"{name}{DEFAULT.sub('…', text)}"


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
