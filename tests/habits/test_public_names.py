"""Habits of the public face: `__all__` is sorted and true, what it names is documented, and docstring examples run."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@pytest.fixture
def module(source: Path, root: Path) -> ModuleType:
    """The module of a source file, imported."""
    parts = source.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return importlib.import_module(name)


@pytest.fixture
def tree(source: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(source.read_text("utf-8"))


def test_each_module_says_what_it_is(tree: ast.Module) -> None:
    assert ast.get_docstring(tree)


def test_all_is_sorted_and_true(module: ModuleType, tree: ast.Module) -> None:
    public = {node.name for node in tree.body if isinstance(node, DEFINITIONS) and not node.name.startswith("_")}
    listed = getattr(module, "__all__", None)
    if listed is None:
        assert not public, "a module with public names has an __all__"
        return
    assert list(listed) == sorted(set(listed), key=rank)
    assert [name for name in listed if not hasattr(module, name)] == []


def rank(name: str) -> tuple[int, str]:
    """Constants first, then classes, then functions, as isort sorts names."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2), name


def test_each_public_name_has_a_docstring(module: ModuleType, tree: ast.Module) -> None:
    public = set(getattr(module, "__all__", ()))
    silent = []
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and node.name in public:
            if not ast.get_docstring(node):
                silent.append(node.name)
            if isinstance(node, ast.ClassDef):
                silent += silent_methods(node, getattr(module, node.name))
    assert silent == []


def silent_methods(node: ast.ClassDef, owner: type) -> list[str]:
    """The public methods of a class that have no docstring, neither of their own nor inherited."""
    methods = [item.name for item in node.body if isinstance(item, DEFINITIONS) and not item.name.startswith("_")]
    # A metaclass may take what the body defines: peewee's models have no Meta in the end.
    kept = [name for name in methods if hasattr(owner, name)]
    return [f"{node.name}.{name}" for name in kept if not inspect.getdoc(getattr(owner, name))]


def test_docstring_examples_run(module: ModuleType) -> None:
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
