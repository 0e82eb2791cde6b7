"""The command line as its users meet it: a process of its own in a directory of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SHOP = '''
import flowstone as fs

shop = fs.Pipeline("shop")


@shop.asset
def orders(context):
    return 1


@shop.asset
def total(context, orders):
    return orders


class Nothing(fs.Sensor):
    def init(self):
        return None

    def poll(self, state):
        return fs.NoTrigger()


shop.sensor("new_orders", Nothing(), every="30s", target="+total")
shop.schedule("nightly", cron="0 2 * * *", target="+total")

broken = fs.Pipeline("broken")


@broken.asset
def report(context, totl):
    return totl


broken.schedule("weekly", cron="@weekly", target="reprot")
number = 3
'''

Flowstone = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the module `shop`."""
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    return tmp_path


@pytest.fixture
def command() -> list[str]:
    """What starts the command line."""
    return [sys.executable, "-c", "from flowstone.cli import main; main()"]


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of the command: nothing of ours in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLOWSTONE_")}


@pytest.fixture
def flowstone(directory: Path, command: list[str], environment: dict[str, str]) -> Flowstone:
    """Runs the command line with these words, in the directory."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], cwd=directory, env=environment, capture_output=True, text=True, timeout=50
        )

    return run
