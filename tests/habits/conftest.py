"""Where things are, for the tests of the house's habits."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the working tree."""
    return ROOT


@pytest.fixture(scope="session")
def product_files() -> list[Path]:
    """Every file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives `source` every module of the packages, `test_file` every file of tests, `example` every example."""
    wanted = {"source": ("actors", "flowstone"), "test_file": ("tests",), "example": ("examples",)}
    for argument, folders in wanted.items():
        if argument in metafunc.fixturenames:
            paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
            metafunc.parametrize(argument, paths, ids=[str(path.relative_to(ROOT)) for path in paths])
