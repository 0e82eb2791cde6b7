"""Every IO manager, in each of its forms."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flowstone.io import FilesIO, IOManager, MemoryIO

MAKERS: dict[str, Callable[[Path], IOManager]] = {
    "memory": lambda root: MemoryIO(),
    "files": FilesIO,
    "json-files": lambda root: FilesIO(root, format="json"),
    "stable-files": lambda root: FilesIO(root, placement="stable"),
}


@pytest.fixture(params=sorted(MAKERS))
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> IOManager:
    """One of the managers, with nothing stored."""
    return MAKERS[request.param](tmp_path / "values")


@pytest.fixture(params=sorted(set(MAKERS) - {"stable-files"}))
def manager_by_attempt(request: pytest.FixtureRequest, tmp_path: Path) -> IOManager:
    """One of the managers that keep a place for each attempt."""
    return MAKERS[request.param](tmp_path / "values")
