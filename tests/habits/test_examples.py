"""Habits of the examples: each is a program that runs to its end and complains about nothing."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_each_example_runs(example: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    command = [sys.executable, "-W", "error", str(example)]
    if "postgresql" in example.stem:
        command.append(request.getfixturevalue("postgres_url"))
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert ran.stdout or "__main__" not in example.read_text("utf-8"), "a program says what it did"


def test_an_io_manager_of_ones_own_takes_a_file_of_thirty_lines(root: Path) -> None:
    assert len((root / "examples" / "gzip_values.py").read_text("utf-8").splitlines()) <= 30
