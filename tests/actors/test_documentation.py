"""The page about actors and the docstrings of the package say what is true."""
from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import actors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "actors.md").read_text()
MODULES = sorted(module.name for module in pkgutil.walk_packages(actors.__path__, "actors."))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_each_example_runs_as_printed(block, caplog):
    exec(compile(block, "docs/actors.md", "exec"), {"__name__": "example"})


def test_each_rule_names_a_test_that_exists():
    named = set(re.findall(r"\| `(test_\w+)` \|", PAGE))
    written = {
        node.name
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) > 25 and named <= written, named - written


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", ["actors", *MODULES])
def test_public_names_are_true_and_documented(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    for attribute in public:
        value = getattr(module, attribute)
        if callable(value) and getattr(value, "__module__", "").startswith("actors"):
            assert value.__doc__, f"{name}.{attribute} has no docstring"


def test_every_event_error_and_message_has_its_place_in_a_tree():
    from actors import errors, events

    assert all(issubclass(getattr(errors, name), errors.ActorError) for name in errors.__all__)
    assert all(name in errors.__doc__ for name in errors.__all__)
    assert all(isinstance(getattr(events, name), type) for name in events.__all__)
