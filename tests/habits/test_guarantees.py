"""Habits of the pages that name tests: each test that they name exists, and each promise names one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
PAGES = ["guarantees.md", "elixir-map.md"]
CASES = 38


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the tests of a file, those of classes too."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


def rows(page: str, heading: str) -> list[str]:
    """The rows of the tables below the headings that begin so, without their heads."""
    parts = re.split(r"^## ", (ROOT / "docs" / page).read_text("utf-8"), flags=re.M)
    tables = [re.findall(r"^\|.*\|$", part, re.M)[2:] for part in parts if part.startswith(heading)]
    return [row for table in tables for row in table]


@pytest.mark.parametrize("page", PAGES)
def test_each_test_that_a_page_names_exists(page: str) -> None:
    named = NAMED.findall((ROOT / "docs" / page).read_text("utf-8"))
    assert named
    missing = [f"{path}::{name}" for path, name in named if name not in names_in(ROOT / "tests" / path)]
    assert missing == []


@pytest.mark.parametrize("section", ["0.", "4.", "5.", "6.", "7.", "11.", "12."])
def test_each_promise_names_a_test(section: str) -> None:
    promises = rows("guarantees.md", section)
    assert promises
    assert [row for row in promises if not NAMED.search(row)] == []


def test_each_case_of_the_elixir_design_has_its_test_or_a_reason_why_not() -> None:
    cases = rows("elixir-map.md", "The test cases")
    assert len(cases) == CASES
    assert [row for row in cases if not NAMED.search(row) and "| none" not in row] == []
