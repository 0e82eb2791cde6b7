"""Who does what a command asks for: whoever holds the store, and the command itself when nobody does any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowstone as fs
from flowstone.cli import work
from flowstone.cli.settings import Settings


@pytest.fixture
def settings(directory, monkeypatch):
    """Settings of a command on the market and its store."""
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(work, "LOOK", 0.01)
    monkeypatch.setattr(work, "PATIENCE", 0.05)
    yield Settings(given={"app": "market:market", "store": "sqlite:///market.db"})
    sys.modules.pop("market", None)


def test_a_command_takes_the_place_of_whoever_held_the_store_and_ended(settings):
    holder = fs.Runtime(fs.Pipeline("other"), store="sqlite:///market.db").start()
    with work.worker_of(settings) as at:
        assert isinstance(at, fs.Client)
        holder.stop()
        assert at.materialize("stall", "a").status == "success"
    fs.Runtime(fs.Pipeline("other"), store="sqlite:///market.db").start().stop()


def test_a_command_leaves_the_store_to_whoever_holds_it(settings, monkeypatch):
    with fs.Runtime(fs.Pipeline("other"), store="sqlite:///market.db") as holder, work.worker_of(settings) as at:
        handle = at.materialize_async("stall", "a")
        assert at.served
        assert handle.status in ("queued", "failed")
        assert holder.health().status == "ok"


def test_commands_at_the_same_time_all_end(directory, command, environment):
    words = ["--app", "market:market", "--store", "sqlite:///market.db", "asset", "materialize", "day", "--partition"]
    processes = [
        subprocess.Popen(
            [*command, *words, f"2025-01-0{day}"],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for day in (1, 2, 3)
    ]
    for process in processes:
        with process:
            assert process.wait(50) == 0
