"""The command line as its users meet it: a process of its own in a directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowstone.cli import main

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

MARKET = '''
import os
from datetime import UTC, datetime

import flowstone as fs
from flowstone.sensors import Push

market = fs.Pipeline("market")


@market.asset
def stall(context):
    if os.path.exists("seen.fifo"):
        with open("seen.fifo", "w") as seen:
            seen.write(f"{context.partition}")
    return context.partition


@market.asset(partitions=fs.Daily(start="2025-01-01"))
def day(context):
    return context.partition


class Counting(fs.Sensor):
    def init(self):
        return 0

    def poll(self, state):
        if os.path.exists("broken"):
            raise ValueError("no more")
        return fs.Trigger(f"p{state}", state=state + 1)


market.sensor("counting", Counting(), every="1h", target="stall")
market.sensor("messages", Push(), target="stall", partition=lambda message: message["stall"])
market.schedule("daily", cron="0 2 * * *", target="day", timezone="America/New_York", partition=fs.previous_day)
market.schedule("hourly", cron="0 * * * *", target="stall")
'''

Flowstone = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True, slots=True)
class Called:
    """What a call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document that was printed; there is no other text beside it."""
        return json.loads(self.out)


Call = Callable[..., Called]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the modules `shop` and `market`."""
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    (tmp_path / "market.py").write_text(MARKET, "utf-8")
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


@pytest.fixture
def call(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Calls the command line in this process, in the directory, on the market and its store."""
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in os.environ if name.startswith("FLOWSTONE_")]:
        monkeypatch.delenv(name)

    def run(*words: str, app: str | None = "market:market", store: str = "sqlite:///market.db") -> Called:
        before = ["--store", store, *(["--app", app] if app else [])]
        with pytest.raises(SystemExit) as ended:
            main([*before, *words])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Called(ended.value.code, out, err)

    yield run
    sys.modules.pop("market", None)


@pytest.fixture
def service(directory: Path, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that serves the market, and has said so."""
    words = ["--app", "market:market", "--store", "sqlite:///market.db", "run"]
    process = subprocess.Popen(
        [*command, *words], cwd=directory, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr is not None
        assert "serving" in process.stderr.readline()
        yield process
        process.kill()
