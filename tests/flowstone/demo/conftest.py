"""The demo as its users meet it: a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

PROGRAM = "from flowstone.cli import main; main()"
Demo = Callable[..., dict[str, Any]]
Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Runs `flowstone` with these words, to its end."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLOWSTONE_")}
        command = [sys.executable, "-c", PROGRAM, *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=55)

    return run


@pytest.fixture
def demo(start: Start) -> Demo:
    """Runs `flowstone --json demo` with these words, which has to succeed; gives its document."""

    def run(*words: str) -> dict[str, Any]:
        ran = start("--json", "demo", *words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        document: dict[str, Any] = json.loads(ran.stdout)
        return document

    return run


@pytest.fixture
def refused(start: Start) -> Start:
    """Runs `flowstone demo` with these words, which has to fail."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        ran = start("demo", *words)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        return ran

    return run


@pytest.fixture
def killed_demo(tmp_path: Path) -> Callable[..., None]:
    """Runs `flowstone demo` with these words and kills it in the middle: when it says that it crashed an actor."""

    def run(*words: str) -> None:
        command = [sys.executable, "-u", "-c", PROGRAM, "demo", *words]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while "crashed on purpose" not in process.stdout.readline():
                assert process.poll() is None
            process.kill()
        assert process.returncode == -signal.SIGKILL

    return run


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """A folder with a user's own days: sixty of them, over three months of 1999."""
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(60):
        day = date(1999, 1, 20) + timedelta(days=number)
        row = f"{day},{number % 7},{number % 20 + 2.5},{number % 5},3.0,rain"
        (folder / f"{day}.csv").write_text(f"date,precipitation,temp_max,temp_min,wind,weather\n{row}\n", "utf-8")
    return folder
