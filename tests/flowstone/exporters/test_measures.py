"""What is exported: only what telemetry tells, with labels that stay few."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from actors.testing import ManualClock, crash
from flowstone import telemetry
from flowstone.exporters.measures import LABEL_SETS, MEASURES, OTHER, Measure, Recorder
from flowstone.exporters.watched import GAUGES

SUBJECTS = {"schedule", "sensor", "asset", "run_id"}
ROW = re.compile(r"^\| `(flowstone\.\w+\.\w+)` \| (.*?) \| (.*?) \|$", re.M)


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """The measurements and metadata of each event, as the table says."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    before = ""
    for event, measured, about in ROW.findall(telemetry.__doc__ or ""):
        names = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", about))))
        if about.startswith("the same"):
            names |= found[before][1]
        if about.startswith("as `evaluated`"):
            names |= found["flowstone.sensor.evaluated"][1]
        found[event] = (set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", measured)))), names)
        before = event
    return found


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_each_row_is_an_event_of_the_table_with_its_measurement_and_labels(measure: Measure) -> None:
    measured, about = documented()[measure.event]
    assert measure.measurement == "count" or measure.measurement in measured
    assert set(measure.labels) <= about | SUBJECTS


def test_all_that_ends_fails_or_waits_is_exported() -> None:
    silent = {event.removeprefix("flowstone.") for event in documented()} - {
        measure.event.removeprefix("flowstone.") for measure in MEASURES
    }
    assert silent == {"materialization.start", "io.start"}


def test_no_two_measures_have_one_name() -> None:
    names = [measure.name.replace(".", "_") for measure in MEASURES] + list(GAUGES)
    assert len(names) == len(set(names))
    assert all(name.startswith("flowstone_") for name in names)


def test_each_row_is_told_by_a_runtime_with_its_measurement_and_labels(
    shop: Any, flowstone_clock: ManualClock, make_store_url: Callable[[str], str]
) -> None:
    told: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    resources = {"flaky": shop.resource}
    runtime = fs.Runtime(shop.pipeline, store=make_store_url("sqlite"), clock=flowstone_clock, resources=resources)
    runtime.telemetry.attach("flowstone.", lambda *event: told.append(event))
    with runtime:
        what_schedules_and_sensors_do(shop, runtime, flowstone_clock)
        what_runs_do(shop, runtime)
        what_people_do(shop, runtime)
        what_connectors_and_resources_do(shop, runtime, flowstone_clock)
    flowstone_clock.advance("30h")
    with runtime:
        flowstone_clock.advance("1m")
        runtime.drain(timeout=20)
    optional = {"flowstone.io.stop.bytes", "flowstone.actor.restart"}
    for measure in MEASURES:
        events = [(measured, about) for event, measured, about in told if event == measure.event]
        assert events, measure.event
        for measured, about in events:
            assert measure.measurement == "count" or measure.measurement in measured or measure.name in optional
            assert set(measure.labelled(about)) == set(measure.labels) or measure.name in optional
    assert any("bytes" in measured for _, measured, _ in told)
    assert any("sensor" in about for event, _, about in told if event == "flowstone.actor.restart")


def what_schedules_and_sensors_do(shop: Any, runtime: fs.Runtime, clock: ManualClock) -> None:
    """Tick, trigger, fail, and have an actor that crashes."""
    shop.arrivals.set_next(fs.Trigger("a", state=1))
    clock.advance("1h")
    shop.arrivals.set_next(ValueError("no"))
    runtime.sensors.poll("arrivals", timeout=20)
    crash(runtime.sensors.ref("arrivals"))
    runtime.sensors.poll("arrivals", timeout=20)


def what_runs_do(shop: Any, runtime: fs.Runtime) -> None:
    """Succeed, fail, be interrupted, be many; values that are stored, loaded, or gone."""
    runtime.materialize_all("report")
    for value in Path(runtime.settings.url.removeprefix("sqlite:///") + ".values").rglob("*"):
        if value.is_file():
            value.unlink()
    with pytest.raises(fs.FlowstoneError):
        runtime.materialize("report")
    shop.answers.append(ValueError("no"))
    with pytest.raises(fs.ExecutionError):
        runtime.materialize("raw", "broken")
    begun, release = threading.Semaphore(0), threading.Event()
    shop.answers.append(lambda context: (begun.release(), release.wait(20)))
    handle = runtime.materialize_async("raw", "long")
    assert begun.acquire(timeout=20)
    crash(runtime.actor("services", "runs", "materializers", handle.run_id))
    release.set()
    handle.result(timeout=20)
    runtime.backfills.start("raw", ["x", "y"])
    runtime.drain(timeout=20)


def what_people_do(shop: Any, runtime: fs.Runtime) -> None:
    """Say of what they are asked all that there is to say."""
    for say in ("approve", "reject", "modify", "escalate"):
        shop.answers.append(fs.WaitForApproval("sure?", timeout="1h"))
        runtime.materialize_async("raw", say)
        runtime.drain(timeout=20)
        (asked,) = runtime.approvals.list_pending()
        getattr(runtime.approvals, say)(asked.id, **({"payload": 2} if say == "modify" else {}))
        runtime.drain(timeout=20)


def what_connectors_and_resources_do(shop: Any, runtime: fs.Runtime, clock: ManualClock) -> None:
    """Handle an event, fail at one, fire a task; and be well no more, when an approval has expired too."""
    runtime.connectors.on_event("fine", lambda event: None)
    runtime.connectors.on_event("broken", lambda event: {}["no"])
    runtime.connectors.create_scheduled_task("often", "*/30 * * * *", event_type="fine")
    runtime.connectors.emit("broken")
    shop.resource.well = False
    clock.advance("2h")
    runtime.drain(timeout=20)


def test_what_a_clock_that_was_set_back_measured_is_none() -> None:
    duration = Measure("flowstone.run.finished", "duration")
    assert [duration.value({"duration": seconds}) for seconds in (-1.0, 2.5)] == [0, 2.5]
    assert duration.value({}) is None
    assert Measure("flowstone.sensor.error", "count").value({"failures": 7}) == 1
    assert Measure("flowstone.schedule.missed", "count").value({"count": 19}) == 19
    assert (Measure("flowstone.io.stop", "bytes").unit, Measure("flowstone.run.requested", "count").unit) == ("By", "")
    assert Measure("flowstone.io.stop", "bytes").told == "bytes of flowstone.io.stop"


def test_the_sets_of_labels_of_a_measure_are_bounded() -> None:
    recorded: dict[str, list[dict[str, str]]] = {measure.name: [] for measure in MEASURES}
    recorder = Recorder(lambda measure: lambda value, labels: recorded[measure.name].append(labels))
    for number in range(LABEL_SETS + 2):
        recorder.take("flowstone.run.requested", {"count": 1}, {"asset": f"asset-{number}", "run_id": str(number)})
    recorder.take("flowstone.run.requested", {"count": 1}, {"asset": "asset-0", "run_id": "again"})
    recorder.take("flowstone.sensor.error", {"failures": 1}, {"sensor": "orders"})
    recorder.take("flowstone.nothing.known", {"count": 1}, {"asset": "a"})
    labels = [each["asset"] for each in recorded["flowstone.run.requested"]]
    assert labels[-4:] == [f"asset-{LABEL_SETS - 1}", OTHER, OTHER, "asset-0"]
    assert len(set(labels)) == LABEL_SETS + 1
    assert recorded["flowstone.sensor.error"] == [{"sensor": "orders"}]


def test_importing_flowstone_and_its_exporters_loads_neither_package() -> None:
    modules = "flowstone, flowstone.exporters.prometheus, flowstone.exporters.opentelemetry"
    program = f"import {modules}, sys; print({{'prometheus_client', 'opentelemetry'}} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_the_guide_lists_each_name_with_its_labels() -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "see-what-happens.md").read_text("utf-8")
    listed = {
        name: tuple(re.findall(r"`(\w+)`", labels))
        for names, labels in re.findall(r"^\| (`flowstone[._].*?) \|(.*?)\|$", page, re.M)
        for name in re.findall(r"`(\S+?)`", names)
    }
    measured = {name: labels for name, labels in listed.items() if name.startswith("flowstone.")}
    assert measured == {measure.name: measure.labels for measure in MEASURES}
    assert set(listed) - set(measured) == set(GAUGES)
