"""Commands as clients of a store that a service in another process holds."""

from __future__ import annotations

import os
import signal

import pytest


@pytest.fixture
def seen(directory):
    """Gives the partition of the next asset that the service makes; waits for it."""
    os.mkfifo(directory / "seen.fifo")
    return lambda: (directory / "seen.fifo").read_text()


def test_the_service_does_what_commands_ask_for(seen, service, call):
    polled = call("sensor", "poll", "counting", "--json").json
    assert seen() == "p0"
    pushed = call("sensor", "push", "messages", '{"stall": "fruit"}', "--message-id", "m-1", "--json").json
    assert seen() == "fruit"
    tick = call("schedule", "trigger", "hourly", "--partition", "bread", "--json").json
    assert seen() == "bread"
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0
    done = {run["run_id"] for run in call("runs", "list", "--status", "success", "--json").json}
    assert done == {*polled["run_ids"], *pushed["run_ids"], tick["run_id"]}


def test_every_look_and_decision_works_while_a_service_runs(service, call):
    for words in (
        *(("schedule", "list"), ("schedule", "pause", "daily"), ("schedule", "resume", "daily")),
        *(("sensor", "list"), ("sensor", "pause", "counting"), ("sensor", "reset", "counting", "4")),
        *(("runs", "list"), ("audit", "list"), ("db", "status"), ("db", "migrate"), ("db", "prune")),
    ):
        called = call(*words, "--json")
        assert (called.code, called.err) == (0, ""), words
    assert call("db", "status", "--json").json["nodes"][0]["pid"] == service.pid
    assert call("sensor", "list", "--json").json[0]["state"] == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_health_follows_the_service(seen, service, call, number):
    call("sensor", "poll", "counting")
    # Heartbeats are written in their turn: the first one was, before this run began.
    assert seen() == "p0"
    running = call("health", "--json")
    assert (running.code, running.json["status"]) == (0, "ok")
    service.send_signal(number)
    service.wait(30)
    ended = call("health", "--json")
    assert (ended.code, ended.json["status"]) == (1, "down")
    assert str(service.pid) in ended.json["parts"][0]["reason"]
