"""Prometheus: what a real server of its client gives to those who scrape it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

import flowstone as fs
import pytest
from actors.testing import ManualClock
from flowstone.exporters import prometheus
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families


class Page:
    """A server of a registry, and what is scraped from it: numbers by name and labels."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._url = f"http://127.0.0.1:{port}/metrics"

    def text(self, query: str = "") -> str:
        with urlopen(self._url + query, timeout=20) as answer:
            return str(answer.read().decode())

    def numbers(self, query: str = "") -> dict[str, dict[tuple[str, ...], float]]:
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.text(query)):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.values()))] = sample.value
        return found


@pytest.fixture
def page() -> Iterator[Page]:
    registry = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield Page(server.server_port, registry)
    server.shutdown()
    server.server_close()
    thread.join(20)


def test_a_scrape_has_the_snapshot_and_what_events_measured(
    shop: Any, started: fs.Runtime, page: Page, flowstone_clock: ManualClock
) -> None:
    prometheus.attach(started, registry=page.registry)
    shop.arrivals.set_next(fs.Trigger("a", "b", state=1))
    flowstone_clock.advance("1h")
    shop.answers.append(ValueError("no"))
    with pytest.raises(fs.ExecutionError):
        started.materialize("raw", "broken")
    started.drain(timeout=20)
    numbers = page.numbers()
    assert numbers["flowstone_up"] == {(): 1.0}
    for one in started.metrics():
        assert numbers[one.name][tuple(sorted(one.labels.values()))] == one.value
    assert numbers["flowstone_schedule_tick_lateness_seconds_count"] == {("hourly", "triggered"): 1}
    assert numbers["flowstone_sensor_triggered_total"] == {("arrivals",): 2}
    assert numbers["flowstone_run_requested_total"] == {("raw",): 4}
    assert numbers["flowstone_run_finished_duration_seconds_count"] == {("raw", "success"): 3, ("failed", "raw"): 1}
    assert numbers["flowstone_materialization_exception_duration_seconds_count"] == {("execution_error", "raw"): 1}
    assert numbers["flowstone_run_interrupted_total"] == {(): 0}
    assert "# TYPE flowstone_io_stop_duration_seconds histogram" in page.text()


def test_lateness_falls_into_its_bucket(page: Page, shop: Any, flowstone_clock: ManualClock) -> None:
    with fs.Runtime(shop.pipeline, store="memory://", clock=flowstone_clock) as runtime:
        prometheus.attach(runtime, registry=page.registry)
        runtime.telemetry.emit("flowstone.schedule.tick", {"lateness": 2.0}, {"schedule": "s", "status": "triggered"})
        runtime.drain(timeout=20)
        numbers = page.numbers()
    buckets = numbers["flowstone_schedule_tick_lateness_seconds_bucket"]
    assert (buckets["1.0", "s", "triggered"], buckets["2.5", "s", "triggered"]) == (0, 1)
    assert numbers["flowstone_schedule_tick_lateness_seconds_sum"] == {("s", "triggered"): 2}


def test_a_label_that_an_event_does_not_tell_is_empty(started: fs.Runtime, page: Page) -> None:
    prometheus.attach(started, registry=page.registry)
    started.telemetry.emit("flowstone.actor.restart", {"restarts": 1}, {"actor": "root/services", "reason": "no"})
    started.drain(timeout=20)
    assert page.numbers()["flowstone_actor_restart_total"] == {("",): 1}


def test_attached_before_the_start_it_is_down_until_then_and_after_the_stop(
    shop: Any, backend: str, page: Page, flowstone_clock: ManualClock
) -> None:
    runtime = fs.Runtime(shop.pipeline, store="memory://", backend=backend, clock=flowstone_clock)
    prometheus.attach(runtime, registry=page.registry)
    assert page.numbers()["flowstone_up"] == {(): 0}
    for times in (1, 2):
        with runtime:
            runtime.materialize("raw")
            runtime.drain(timeout=20)
            numbers = page.numbers()
            assert numbers["flowstone_up"] == {(): 1}
            assert numbers["flowstone_run_requested_total"] == {("raw",): times}
        stopped = page.numbers()
        assert (stopped["flowstone_up"], "flowstone_runs" in stopped) == ({(): 0}, False)
        assert stopped["flowstone_run_requested_total"] == {("raw",): times}


def test_a_scrape_while_the_store_is_down_says_so_and_succeeds(
    shop: Any, page: Page, postgres_server: Any, postgres_url: str, flowstone_runtime: Callable[..., fs.Runtime]
) -> None:
    if not postgres_server.ours:
        pytest.skip("the server is not the tests' own, and may not be stopped")
    runtime = flowstone_runtime(shop.pipeline, store=postgres_url, io_manager="memory")
    prometheus.attach(runtime, registry=page.registry)
    runtime.materialize("raw")
    runtime.drain(timeout=20)
    postgres_server.stop()
    try:
        numbers = page.numbers()
    finally:
        postgres_server.start()
    assert (numbers["flowstone_up"], "flowstone_runs" in numbers) == ({(): 0}, False)
    assert numbers["flowstone_run_requested_total"] == {("raw",): 1}
    assert page.numbers()["flowstone_up"] == {(): 1}


def test_a_client_has_the_snapshot_of_the_runtime_beside_it(
    shop: Any, page: Page, make_store_url: Callable[[str], str], flowstone_clock: ManualClock
) -> None:
    url = make_store_url("sqlite")
    with fs.Runtime(shop.pipeline, store=url, clock=flowstone_clock) as runtime:
        client = fs.Client(store=url)
        prometheus.attach(client, registry=page.registry)
        assert page.numbers()["flowstone_up"] == {(): 0}
        with client:
            shop.answers.append(fs.WaitForApproval("sure?"))
            runtime.materialize_async("raw")
            runtime.drain(timeout=20)
            numbers = page.numbers()
    assert numbers["flowstone_up"] == {(): 1}
    assert numbers["flowstone_runs"]["waiting_approval",] == 1
    assert "flowstone_run_requested_total" not in numbers


def test_detached_it_gives_nothing_more_however_often(started: fs.Runtime, page: Page) -> None:
    users = Counter("users", "Of the user's own.", registry=page.registry)
    attached = prometheus.attach(started, registry=page.registry)
    assert "flowstone_up" in page.numbers()
    for _ in range(2):
        attached.detach()
    users.inc()
    assert set(page.numbers()) == {"users_total", "users_created"}
    assert not started.telemetry.active
    again = prometheus.attach(started, registry=page.registry)
    page.registry.unregister(again)
    again.detach()
    assert not started.telemetry.active


def test_a_registry_has_one_runtime_and_refuses_another_whole(
    shop: Any, started: fs.Runtime, page: Page, flowstone_clock: ManualClock
) -> None:
    attached = prometheus.attach(started, registry=page.registry)
    other = fs.Runtime(shop.pipeline, store="memory://", clock=flowstone_clock)
    for again in (started, other):
        with pytest.raises(fs.ValidationError, match="registry without the numbers of a runtime: detach the other"):
            prometheus.attach(again, registry=page.registry)
    assert not other.telemetry.active
    started.materialize("raw")
    started.drain(timeout=20)
    assert page.numbers()["flowstone_run_requested_total"] == {("raw",): 1}
    attached.detach()
    prometheus.attach(other, registry=page.registry).detach()


def test_without_a_registry_it_is_that_of_the_process(started: fs.Runtime) -> None:
    attached = prometheus.attach(started)
    try:
        assert b"flowstone_up 1.0" in generate_latest(REGISTRY)
    finally:
        attached.detach()
    assert b"flowstone_up" not in generate_latest(REGISTRY)


def test_a_scrape_may_ask_for_one_name(started: fs.Runtime, page: Page) -> None:
    prometheus.attach(started, registry=page.registry)
    assert set(page.numbers("?name[]=flowstone_up")) == {"flowstone_up"}


def test_scrapes_of_many_threads_while_runs_go_on_all_succeed(started: fs.Runtime, page: Page) -> None:
    prometheus.attach(started, registry=page.registry)
    with ThreadPoolExecutor(8) as pool:
        scrapes = [pool.submit(page.numbers) for _ in range(40)]
        for number in range(20):
            started.materialize_async("raw", f"p{number}")
        started.drain(timeout=20)
        assert all(each.result(timeout=20)["flowstone_up"] == {(): 1} for each in scrapes)
    assert page.numbers()["flowstone_run_requested_total"] == {("raw",): 20}


def test_labels_are_escaped_and_no_message_is_among_them(started: fs.Runtime, page: Page) -> None:
    prometheus.attach(started, registry=page.registry)
    started.sensors.push("inbox", {"token": "s3cret"}, message_id="m1")
    started.telemetry.emit("flowstone.event.handled", {"duration": 0.1}, {"event_type": 'a"b\\c\nd'})
    started.drain(timeout=20)
    assert page.numbers()["flowstone_event_handled_duration_seconds_count"] == {('a"b\\c\nd',): 1}
    assert "s3cret" not in page.text()


def test_without_its_package_the_error_names_the_extra(started: fs.Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(fs.ConfigError, match=r"needs prometheus_client: pip install 'flowstone\[prometheus\]'"):
        prometheus.attach(started)
    assert not started.telemetry.active


@pytest.mark.parametrize(
    ("runtime", "registry", "said"),
    [
        ("shop", None, "expected runtime to be a runtime or a client, got: 'shop'"),
        (None, "mine", "expected registry to be a CollectorRegistry, got: 'mine'"),
    ],
)
def test_what_is_no_runtime_or_no_registry_is_refused(
    runtime: Any, registry: Any, said: str, started: fs.Runtime
) -> None:
    with pytest.raises(fs.ValidationError, match=said):
        prometheus.attach(runtime or started, registry=registry)
    assert not started.telemetry.active
