"""Habits of README and docs: Python blocks run as printed, shell blocks are what they promise, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in these languages, in order."""
    return [code for language, code in BLOCK.findall(page.read_text("utf-8")) if language in languages]


PYTHON = [(page, number, code) for page in PAGES for number, code in enumerate(blocks(page, "python"), start=1)]


IDS = [f"{page.name}-{number}" for page, number, _ in PYTHON]


@pytest.mark.parametrize("code", [code for *_, code in PYTHON], ids=IDS)
def test_each_python_block_runs_as_printed(code: str, tmp_path: Path) -> None:
    program = tmp_path / "printed.py"
    program.write_text(code, "utf-8")
    tests = [str(program)] if re.search(r"^def test_", code, re.M) else []
    command = ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *tests] if tests else [str(program)]
    ran = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_first_shell_block_runs_the_demo_and_the_second_the_tests() -> None:
    first, second, *_ = blocks(PAGES[0], "sh")
    assert "venv" in first and first.rstrip().endswith("flowstone demo")
    assert "venv" in second and "pytest -n 3" in second


def test_continuous_integration_runs_the_same_test_command() -> None:
    workers = re.search(r'/pytest" -n "\$\{PYTEST_WORKERS:-(\d+)\}"', (ROOT / ".ci" / "run").read_text("utf-8"))
    assert workers and f"pytest -n {workers[1]}" in blocks(PAGES[0], "sh")[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    assert [link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()] == []
