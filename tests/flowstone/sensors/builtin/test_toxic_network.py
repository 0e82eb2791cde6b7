"""A network that refuses and cuts, between sensors and real services: nothing lost, nothing twice."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstone.sensors import DatabaseChange, PollError, S3FileArrival, Webhook
from flowstone.sensors.surroundings import ALONE


class Stored:
    """Surroundings whose store knows what a poller committed."""

    poller: Any = None
    now = ALONE.now
    wake = ALONE.wake

    def known(self, wanted: Any) -> frozenset[str]:
        known: frozenset[str] = self.poller.known(wanted)
        return known


@pytest.mark.property
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["put", "poll", "refuse", "cut", "cut late"]), max_size=10))
def test_a_bucket_behind_a_toxic_network(bucket: Any, proxy: Any, poller: Any, steps: list[str]) -> None:
    import boto3
    from botocore.config import Config

    for told in bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", ()):
        bucket.delete(told["Key"])
    quick = Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=2)
    keys = {name: value for name, value in bucket.options.items() if name.startswith(("aws", "region"))}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.port}", config=quick, **keys)
    around = Stored()
    watch = around.poller = poller(S3FileArrival(bucket=bucket.name, client=client), around)
    put, runs = 0, list[str]()
    for step in [*steps, "poll"]:
        if step == "put":
            bucket.put(f"{put:03}", body=str(put))
            put += 1
            continue
        proxy.most = {"poll": None, "refuse": 0, "cut": 40, "cut late": 400}[step]
        # A connection of before would pass by what the proxy does now.
        client._endpoint.http_session.close()
        try:
            runs += [item.payload["key"] for item in watch.poll()]
        except PollError as error:
            assert step != "poll" and error.code in {"network_error", "s3_error:500"}
    client.close()
    assert runs == [f"{number:03}" for number in range(put)]


@pytest.mark.parametrize("most", [0, 5, 30, 60])
def test_an_endpoint_behind_a_toxic_network(proxy: Any, poller: Any, most: int) -> None:
    watch = poller(Webhook(url=f"http://127.0.0.1:{proxy.port}/moto-api/", timeout="5s"))
    proxy.most = most
    with pytest.raises(PollError) as caught:
        watch.poll()
    assert caught.value.code == "network_error"
    proxy.most = None
    assert len(watch.poll()) == 1


@pytest.mark.parametrize("most", [0, 20])
def test_a_database_behind_a_toxic_network(make_proxy: Any, poller: Any, most: int) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    made = make_proxy(*silent.getsockname())
    made.most = most
    threading.Thread(target=lambda: silent.accept()[0].close(), daemon=True).start()
    with pytest.raises(PollError) as caught:
        poller(DatabaseChange(url=f"postgresql://ann:hunter2@127.0.0.1:{made.port}/shop", query="select 1")).poll()
    assert caught.value.code == "database_error"
    assert "hunter2" not in str(caught.value)
    silent.close()
