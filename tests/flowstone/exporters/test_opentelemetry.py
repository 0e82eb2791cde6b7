"""OpenTelemetry: what the exporters and readers of its real SDK get."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import flowstone as fs
import pytest
from actors import System
from actors.testing import ManualClock, crash
from flowstone.exporters import opentelemetry, spans
from flowstone.exporters.measures import BUCKETS, MEASURES
from flowstone.exporters.watched import GAUGES
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode


class Told:
    """Providers of the test's own, and what came out of them."""

    def __init__(self, readers: int = 1) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.readers = [InMemoryMetricReader() for _ in range(readers)]
        self.meter_provider = MeterProvider(self.readers, shutdown_on_exit=False)

    def attach(self, runtime: Any) -> opentelemetry.Attached:
        return opentelemetry.attach(
            runtime, tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span

    def numbers(self, reader: int = 0) -> dict[str, dict[tuple[Any, ...], Any]]:
        data = self.readers[reader].get_metrics_data()
        found: dict[str, dict[tuple[Any, ...], Any]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "flowstone"
                for metric in scope.metrics:
                    points = {tuple(sorted(each.attributes.values())): each for each in metric.data.data_points}
                    found[metric.name] = {key: getattr(point, "value", point) for key, point in points.items()}
        return found


@pytest.fixture
def told() -> Told:
    return Told()


def parent(span: ReadableSpan) -> Any:
    return span.parent and span.parent.span_id


def identity(span: ReadableSpan) -> Any:
    return span.context and span.context.span_id


def test_a_run_holds_what_it_makes_and_that_holds_its_values(started: fs.Runtime, told: Told) -> None:
    told.attach(started)
    started.materialize_all("report")
    started.drain(timeout=20)
    run, raw, report = (told.span(name) for name in ("run +report", "materialize raw", "materialize report"))
    assert parent(run) is None
    assert parent(raw) == parent(report) == identity(run)
    assert parent(told.span("store raw")) == identity(raw)
    assert parent(told.span("store report")) == identity(report)
    assert parent(told.span("load raw")) == identity(report)
    finished = told.exporter.get_finished_spans()
    assert len({span.context.trace_id for span in finished if span.context}) == 1
    assert {span.status.status_code for span in finished} == {StatusCode.UNSET}
    about = dict(run.attributes or {})
    assert (about["flowstone.asset"], about["flowstone.status"]) == ("+report", "success")
    assert about["flowstone.run_id"] == (raw.attributes or {})["flowstone.run_id"]


def test_a_value_that_another_run_made_is_loaded_within_the_attempt(started: fs.Runtime, told: Told) -> None:
    told.attach(started)
    started.materialize("raw")
    started.materialize("report")
    assert started.get("raw") == 1
    started.drain(timeout=20)
    within, by_hand = told.spans("load raw")
    assert (parent(within), parent(by_hand)) == (identity(told.span("materialize report")), None)


def test_spans_have_the_time_of_the_runtimes_clock(
    shop: Any, told: Told, flowstone_clock: ManualClock, started: fs.Runtime
) -> None:
    told.attach(started)
    began = flowstone_clock.now()
    shop.answers.append(fs.WaitForApproval("sure?"))
    started.materialize_async("raw")
    started.drain(timeout=20)
    flowstone_clock.advance("2h")
    started.approvals.approve(started.approvals.list_pending()[0].id)
    started.drain(timeout=20)
    (run,) = [span for span in told.spans("run raw") if nanoseconds(began) == span.start_time]
    assert run.end_time == nanoseconds(began + timedelta(hours=2))
    waiting, approved = [span for span in told.spans("materialize raw") if parent(span) == identity(run)]
    assert (waiting.attributes or {})["flowstone.status"] == "waiting_approval"
    assert (waiting.start_time, approved.start_time) == (run.start_time, run.end_time)


def nanoseconds(instant: Any) -> int:
    return int(instant.timestamp()) * 10**9


def test_the_clock_of_a_hosts_system_is_the_runtimes(shop: Any, told: Told, flowstone_clock: ManualClock) -> None:
    system = System(backend="threads", clock=flowstone_clock)
    with fs.Runtime(shop.pipeline, store="memory://", system=system) as runtime:
        told.attach(runtime)
        runtime.materialize("raw")
        runtime.drain(timeout=20)
    system.stop()
    assert told.span("run raw").start_time == nanoseconds(flowstone_clock.now())


def test_each_attempt_is_a_span_and_errors_are_errors(
    backend: str, told: Told, flowstone_clock: ManualClock, flowstone_runtime: Callable[..., fs.Runtime]
) -> None:
    shop = fs.Pipeline("shop")

    @shop.asset(retry=fs.RetryPolicy(max_attempts=2, base=10, on=ValueError))
    def broken(context: fs.Context) -> None:
        raise ValueError(f"boom {context.attempt}")

    runtime = flowstone_runtime(shop, backend=backend)
    told.attach(runtime)
    handle = runtime.materialize_async("broken")
    flowstone_clock.advance("29s")
    with pytest.raises(fs.ExecutionError):
        handle.result(timeout=20)
    runtime.drain(timeout=20)
    attempts = told.spans("materialize broken")
    assert [(span.attributes or {})["flowstone.attempt"] for span in attempts] == [1, 2]
    run = told.span("run broken")
    for span in (*attempts, run):
        assert span.status.status_code is StatusCode.ERROR
        assert "boom" in str(span.status.description)
    assert {parent(span) for span in attempts} == {identity(run)}


def test_io_that_fails_is_an_error_within_its_attempt(
    shop: Any, told: Told, flowstone_runtime: Callable[..., fs.Runtime]
) -> None:
    class Full:
        def store(self, context: Any, value: Any) -> Any:
            raise OSError("disk full")

        load = exists = delete = store

    runtime = flowstone_runtime(shop.pipeline, io_managers={"full": Full()}, io_manager="full")
    told.attach(runtime)
    with pytest.raises(fs.IOManagerError):
        runtime.materialize("raw")
    runtime.drain(timeout=20)
    span = told.span("store raw")
    assert (span.status.status_code, parent(span)) == (StatusCode.ERROR, identity(told.span("materialize raw")))
    assert (span.attributes or {})["flowstone.error_type"] == "io_manager_error"


def test_evaluations_are_spans_of_their_cause(shop: Any, started: fs.Runtime, told: Told) -> None:
    told.attach(started)
    shop.arrivals.set_next(ValueError("no"))
    started.sensors.poll("arrivals", timeout=20)
    started.sensors.push("inbox", {"token": "s3cret"}, message_id="m1")
    started.drain(timeout=20)
    polled, pushed = told.spans("poll arrivals")[-1], told.span("push inbox")
    assert polled.status.status_code is StatusCode.ERROR
    assert polled.status.description == "exception:ValueError: no"
    assert (polled.attributes or {})["flowstone.lateness"] == 0.0
    assert pushed.status.status_code is StatusCode.UNSET
    exported = [span.to_json() for span in told.exporter.get_finished_spans()]
    assert "s3cret" not in str(exported) + str(told.readers[0].get_metrics_data())


def test_an_interrupted_run_goes_on_in_its_span(shop: Any, started: fs.Runtime, told: Told) -> None:
    told.attach(started)
    begun, release = threading.Semaphore(0), threading.Event()
    shop.answers.append(lambda context: (begun.release(), release.wait(20)))
    handle = started.materialize_async("raw")
    assert begun.acquire(timeout=20)
    crash(started.actor("services", "runs", "materializers", handle.run_id))
    release.set()
    handle.result(timeout=20)
    started.drain(timeout=20)
    run, (first, second) = told.span("run raw"), told.spans("materialize raw")
    assert {parent(first), parent(second)} == {identity(run)}
    for span in (run, first):
        assert [event.name for event in span.events] == ["flowstone.run.interrupted"]
    assert "its actor ended" in str((run.events[0].attributes or {})["flowstone.reason"])
    assert not second.events
    assert (run.attributes or {})["flowstone.interruptions"] == 1


def test_an_attempt_that_a_stop_interrupts_ends_then_and_its_run_when_detached(
    shop: Any, backend: str, told: Told, flowstone_clock: ManualClock
) -> None:
    runtime = fs.Runtime(shop.pipeline, store="memory://", backend=backend, clock=flowstone_clock)
    attached = told.attach(runtime)
    begun, release = threading.Semaphore(0), threading.Event()
    shop.answers.append(lambda context: (begun.release(), release.wait(20)))
    runtime.start().materialize_async("raw", "long")
    assert begun.acquire(timeout=20)
    runtime.stop(timeout=0.01)
    release.set()
    (event,) = told.span("materialize raw").events
    assert (event.attributes or {})["flowstone.reason"] == "the runtime was stopped"
    assert not told.spans("run raw")
    attached.detach()
    assert identity(told.span("run raw")) == parent(told.span("materialize raw"))


def test_a_run_of_before_the_attachment_has_its_whole_duration(
    shop: Any, started: fs.Runtime, told: Told, flowstone_clock: ManualClock
) -> None:
    began = flowstone_clock.now()
    shop.answers.append(fs.WaitForApproval("sure?"))
    started.materialize_async("raw")
    started.drain(timeout=20)
    flowstone_clock.advance("30m")
    told.attach(started)
    started.approvals.approve(started.approvals.list_pending()[0].id)
    started.drain(timeout=20)
    run = told.span("run raw")
    assert (run.start_time, run.end_time) == (nanoseconds(began), nanoseconds(flowstone_clock.now()))
    assert parent(told.span("materialize raw")) is None


def test_detaching_ends_what_is_open_and_stops_both_however_often(
    shop: Any, started: fs.Runtime, told: Told
) -> None:
    attached = told.attach(started)
    shop.answers.append(fs.WaitForApproval("sure?"))
    started.materialize_async("raw")
    started.drain(timeout=20)
    assert not told.spans("run raw")
    attached.detach()
    assert "flowstone.status" not in (told.span("run raw").attributes or {})
    before = len(told.exporter.get_finished_spans())
    attached.detach()
    attached._take("flowstone.sensor.evaluated", {"duration": 0.0}, {"sensor": "late", "cause": "poll"})
    started.materialize("raw", "other")
    started.drain(timeout=20)
    assert len(told.exporter.get_finished_spans()) == before
    assert not set(told.numbers()) & {name.replace("flowstone_", "flowstone.", 1) for name in GAUGES}
    assert not started.telemetry.active


def test_detached_it_may_be_attached_again(
    started: fs.Runtime, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "opentelemetry"):
        told.attach(started).detach()
        attached = told.attach(started)
        started.materialize("raw")
        started.drain(timeout=20)
        numbers = told.numbers()
    assert (numbers["flowstone.up"], numbers["flowstone.run.requested"]) == ({(): 1}, {("raw",): 1})
    assert caplog.messages == []
    attached.detach()


def test_what_is_open_is_bounded_and_what_was_never_told_to_end_is_replaced(
    started: fs.Runtime, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "MOST", 3)
    attached = told.attach(started)
    for number in range(5):
        started.telemetry.emit("flowstone.run.started", {"queue_age": 0.0}, {"run_id": str(number), "asset": "raw"})
    started.drain(timeout=20)
    assert [(span.attributes or {})["flowstone.run_id"] for span in told.spans("run raw")] == ["0", "1"]
    for attempt in (1, 2):
        about = {"run_id": "4", "asset": "raw", "partition": None}
        started.telemetry.emit("flowstone.materialization.start", {"attempt": attempt}, about)
    started.drain(timeout=20)
    assert [(span.attributes or {})["flowstone.attempt"] for span in told.spans("materialize raw")] == [1]
    attached.detach()
    assert len(told.exporter.get_finished_spans()) == 7


def test_attributes_are_numbers_truths_and_text(started: fs.Runtime, told: Told, flowstone_clock: ManualClock) -> None:
    told.attach(started)
    about = {"sensor": "s", "cause": "poll", "status": "error", "reason": None, "on": True, "at": flowstone_clock.now()}
    started.telemetry.emit("flowstone.sensor.evaluated", {"duration": -1.0, "n": 2}, about)
    started.drain(timeout=20)
    span = told.span("poll s")
    assert {name.removeprefix("flowstone."): value for name, value in (span.attributes or {}).items()} == {
        **{"sensor": "s", "cause": "poll", "status": "error", "on": True, "at": "2025-01-15 12:00:00+00:00"},
        **{"duration": -1.0, "n": 2},
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "")
    assert span.start_time == span.end_time


def test_a_reader_gets_the_snapshot_and_what_events_measured(
    shop: Any, started: fs.Runtime, told: Told, flowstone_clock: ManualClock
) -> None:
    told.attach(started)
    shop.arrivals.set_next(fs.Trigger("a", "b", state=1))
    flowstone_clock.advance("1h")
    started.drain(timeout=20)
    numbers = told.numbers()
    for one in started.metrics():
        name = one.name.removesuffix("_seconds").replace("flowstone_", "flowstone.", 1)
        assert numbers[name][tuple(sorted(one.labels.values()))] == one.value
    assert numbers["flowstone.up"] == {(): 1}
    assert numbers["flowstone.sensor.triggered"] == {("arrivals",): 2}
    lateness = numbers["flowstone.schedule.tick.lateness"]["hourly", "triggered"]
    assert (lateness.count, lateness.sum, tuple(lateness.explicit_bounds)) == (1, 0.0, BUCKETS)
    assert set(numbers) <= {measure.name for measure in MEASURES} | {
        name.removesuffix("_seconds").replace("flowstone_", "flowstone.", 1) for name in GAUGES
    }
    assert units(told) == {"s", "By", ""}


def units(told: Told) -> set[str]:
    data = told.readers[0].get_metrics_data()
    metrics = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
    assert all(metric.description for metric in metrics)
    return {metric.unit for metric in metrics}


def test_attached_before_the_start_it_is_down_until_then_and_after_the_stop(
    shop: Any, backend: str, told: Told, flowstone_clock: ManualClock
) -> None:
    runtime = fs.Runtime(shop.pipeline, store="memory://", backend=backend, clock=flowstone_clock)
    told.attach(runtime)
    assert told.numbers()["flowstone.up"] == {(): 0}
    for times in (1, 2):
        with runtime:
            runtime.materialize("raw")
            runtime.drain(timeout=20)
            assert told.numbers()["flowstone.up"] == {(): 1}
        numbers = told.numbers()
        assert (numbers["flowstone.up"], "flowstone.runs" in numbers) == ({(): 0}, False)
        assert len(told.spans("run raw")) == times


def test_a_client_has_gauges_alone(shop: Any, told: Told, make_store_url: Callable[[str], str]) -> None:
    url = make_store_url("sqlite")
    with fs.Runtime(shop.pipeline, store=url, scheduler=False, sensors=False):
        with fs.Client(store=url) as client:
            attached = told.attach(client)
            numbers = told.numbers()
            attached.detach()
    assert numbers["flowstone.up"] == {(): 1}
    assert ("queued",) in numbers["flowstone.runs"]
    assert told.numbers() == {}


def test_the_store_is_read_once_for_each_collection_of_each_reader(
    started: fs.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, read = Told(readers=2), []
    metrics = started.metrics
    monkeypatch.setattr(started, "metrics", lambda: read.append(1) or metrics())
    told.attach(started)
    for reader in (0, 1, 1, 0):
        numbers = told.numbers(reader)
        assert numbers["flowstone.queue_age"] == {(): 0}
        assert len(numbers["flowstone.runs"]) == 3
    assert len(read) == 4


def test_readers_of_many_threads_while_runs_go_on_lose_no_gauge(started: fs.Runtime) -> None:
    told = Told(readers=4)
    told.attach(started)
    with ThreadPoolExecutor(4) as pool:
        collected = [pool.submit(told.numbers, number % 4) for number in range(40)]
        for number in range(20):
            started.materialize_async("raw", f"p{number}")
        started.drain(timeout=20)
        for each in collected:
            numbers = each.result(timeout=20)
            assert (numbers["flowstone.up"], len(numbers["flowstone.runs"])) == ({(): 1}, 3)
    assert len(told.spans("run raw")) == 20


def test_a_provider_has_one_runtime_and_refuses_another_whole(
    shop: Any, started: fs.Runtime, told: Told, flowstone_clock: ManualClock
) -> None:
    attached = told.attach(started)
    other = fs.Runtime(shop.pipeline, store="memory://", clock=flowstone_clock)
    for again in (started, other):
        with pytest.raises(fs.ValidationError, match="provider without the numbers of a runtime: detach the other"):
            told.attach(again)
    assert not other.telemetry.active
    started.materialize("raw")
    started.drain(timeout=20)
    assert (len(told.spans("run raw")), told.numbers()["flowstone.run.requested"]) == (1, {("raw",): 1})
    attached.detach()
    told.attach(other).detach()
    assert told.numbers().get("flowstone.up") is None


GLOBAL = """
import flowstone as fs
from flowstone.exporters import opentelemetry
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

shop = fs.Pipeline("shop")
shop.asset(lambda context: 1, name="raw")
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
with fs.Runtime(shop, store="memory://") as runtime:
    attached = opentelemetry.attach(runtime)
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
    metrics.set_meter_provider(MeterProvider([reader]))
    runtime.materialize("raw")
    runtime.drain(timeout=20)
    for provider in (None, metrics.get_meter_provider()):
        try:
            opentelemetry.attach(runtime, meter_provider=provider)
        except fs.ValidationError as error:
            print(type(error).__name__)
    names = [one.name for one in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics]
    attached.detach()
print("flowstone.up" in names, "flowstone.run.requested" in names)
print("run raw" in {span.name for span in exporter.get_finished_spans()})
"""


def test_the_global_providers_may_be_set_later() -> None:
    ran = subprocess.run([sys.executable, "-c", GLOBAL], capture_output=True, text=True, check=True, timeout=50)
    assert ran.stdout.split() == ["ValidationError", "ValidationError", "True", "True", "True"]
    assert ran.stderr == ""


def test_without_its_package_the_error_names_the_extra(started: fs.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(fs.ConfigError, match=r"needs opentelemetry: pip install 'flowstone\[opentelemetry\]'"):
        opentelemetry.attach(started)
    assert not started.telemetry.active


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"runtime": "shop"}, "expected runtime to be a runtime or a client, got: 'shop'"),
        ({"tracer_provider": "mine"}, "expected tracer_provider to be a TracerProvider, got: 'mine'"),
        ({"meter_provider": "mine"}, "expected meter_provider to be a MeterProvider, got: 'mine'"),
    ],
)
def test_what_is_no_runtime_or_no_provider_is_refused(given: dict[str, Any], said: str, started: fs.Runtime) -> None:
    with pytest.raises(fs.ValidationError, match=said):
        opentelemetry.attach(**{"runtime": started, **given})
    assert not started.telemetry.active
