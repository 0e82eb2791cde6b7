"""Topics: subscribers of the user's run beside the actors, in order, and may fail."""

from __future__ import annotations

import threading
from typing import Any

import flowstone as fs
import pytest
from flowstone.testing import ScriptedSensor


@pytest.fixture(params=["greenlets", "threads"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_subscribers_get_what_was_triggered_in_order_after_the_commit(backend: str) -> None:
    shop, sensor, seen = fs.Pipeline("shop"), ScriptedSensor(), []
    shop.asset(lambda context: None, name="target")
    shop.sensor("scripted", sensor, target="target")
    with fs.Runtime(shop, store="memory://", backend=backend) as runtime:

        def subscriber(message: Any) -> None:
            seen.append((message, len(runtime.runs.list()) > 0))

        runtime.pubsub.subscribe("sensors", subscriber)
        runtime.pubsub.subscribe("sensors", subscriber)
        sensor.set_next(fs.Trigger("a", "b", state=1), fs.Trigger("c", state=2))
        runtime.sensors.poll("scripted")
        runtime.sensors.poll("scripted")
        runtime.drain(timeout=20)
        runtime.pubsub.unsubscribe("sensors", subscriber)
        sensor.set_next(fs.Trigger("d", state=3))
        runtime.sensors.poll("scripted")
        runtime.drain(timeout=20)
    assert seen == [(("sensor_triggered", "scripted", partition), True) for partition in "abc"]


def test_a_subscriber_that_hangs_or_raises_harms_nobody(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    release, told = threading.Event(), threading.Event()
    with fs.Runtime(store="memory://", backend=backend) as runtime:

        def fails(message: Any) -> None:
            raise ValueError(f"no {message}")

        runtime.pubsub.subscribe("mine", lambda message: release.wait())
        runtime.pubsub.subscribe("mine", fails)
        runtime.pubsub.subscribe("mine", lambda message: told.set())
        assert runtime.pubsub.publish("mine", "thing") == 3
        assert told.wait(20)
        release.set()
        runtime.drain(timeout=20)
    assert "no thing" in caplog.text


def test_what_can_not_be_called_is_refused() -> None:
    with fs.Runtime(store="memory://") as runtime, pytest.raises(fs.ValidationError, match="subscriber"):
        runtime.pubsub.subscribe("sensors", 5)  # type: ignore[arg-type]
