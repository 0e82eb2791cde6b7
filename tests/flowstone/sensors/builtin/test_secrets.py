"""No secret that a sensor is given is kept or told anywhere: store, log, history, health, telemetry, command line."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowstone as fs
from flowstone.sensors import DatabaseChange, Push, S3FileArrival, Token, Webhook
from flowstone.web import Server, create_app

SECRET = "hunter2"
NOBODY = "127.0.0.1:9"
NAMES = ("page", "no_page", "objects", "no_objects", "no_rows", "letters")


@pytest.fixture
def shop(bucket: Any, aws_url: str, monkeypatch: pytest.MonkeyPatch) -> fs.Pipeline:
    """A sensor of each kind that takes secrets; of those that poll one that succeeds, and one that fails."""
    monkeypatch.setenv("API_TOKEN", SECRET)
    headers = {"Authorization": "Bearer ${API_TOKEN}", "X-Api-Key": SECRET}
    made = fs.Pipeline("shop")
    sensors: list[Any] = [
        Webhook(url=f"{aws_url}/moto-api/?token={SECRET}", headers=headers),
        Webhook(url=f"http://ann:{SECRET}@{NOBODY}/?token={SECRET}", headers=headers, timeout="5s"),
        S3FileArrival(**bucket.options),
        S3FileArrival(**{**bucket.options, "bucket": "nowhere"}),
        DatabaseChange(url=f"postgresql://ann:{SECRET}@{NOBODY}/shop", query="select 1"),
        Push(auth=Token(SECRET)),
    ]
    for name, sensor in zip(NAMES, sensors, strict=True):
        made.asset(lambda context: None, name=name)
        made.sensor(name, sensor, target=name)
    return made


def post(address: str, token: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=20)
    headers = {"Content-Type": "application/json", "X-Message-Id": "1", "Authorization": f"Bearer {token}"}
    connection.request("POST", "/sensors/letters", json.dumps({"n": 1}), headers)
    answer = connection.getresponse()
    told = answer.read().decode()
    connection.close()
    return answer.status, told


def test_no_secret_of_a_sensor_is_kept_or_told(
    shop: fs.Pipeline,
    bucket: Any,
    tmp_path: Path,
    flowstone_runtime: Callable[..., fs.Runtime],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="flowstone")
    told: list[Any] = []
    runtime = flowstone_runtime(shop, store=f"sqlite:///{tmp_path}/shop.db")
    runtime.telemetry.attach("flowstone.", lambda *event: told.append(event))
    bucket.put("2025-01-15.csv")
    statuses = [runtime.sensors.poll(name).status for name in NAMES[:-1]]
    assert statuses == ["triggered", "error", "triggered", "error", "error"]
    server = Server(create_app(runtime), port=0, threads=2)
    server.start()
    answers = [post(server.url.removeprefix("http://"), token) for token in (f"{SECRET}!", SECRET)]
    server.close()
    assert [status for status, _ in answers] == [401, 200]
    runtime.drain()
    rows = [row for name in NAMES for row in runtime.sensors.history(name)]
    assert len(rows) == 6
    told += [*answers, *rows, *map(runtime.why, rows), runtime.health(), *runtime.sensors.list()]
    told += [*runtime.runs.list(), *runtime.audit.list()]
    # The servers of the test log what they were asked for.
    told += [record.getMessage() for record in caplog.records if record.name.startswith("flowstone")]
    assert SECRET not in "\n".join(map(repr, told))
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"no_objects" in kept
    assert SECRET.encode() not in kept
