"""Habits of the tests: they wait for events, probes and the manual clock, never for time to pass."""

import ast
from pathlib import Path


def sleeps(tree: ast.AST) -> list[int]:
    """The lines on which something named sleep is called or imported."""
    lines = []
    for node in ast.walk(tree):
        named = node.func if isinstance(node, ast.Call) else None
        called = getattr(named, "id", getattr(named, "attr", None))
        imported = isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names)
        if called == "sleep" or imported:
            lines.append(getattr(node, "lineno", 0))
    return lines


def test_no_test_calls_a_sleep(test_file: Path) -> None:
    assert not sleeps(ast.parse(test_file.read_text("utf-8")))


def test_a_sleep_would_be_found() -> None:
    assert sleeps(ast.parse("import time\ntime.sleep(1)\n")) == [2]
    assert sleeps(ast.parse("from time import sleep as rest\nrest(1)\n")) == [1]
    assert sleeps(ast.parse("sleep(1)\n")) == [1]
