"""Real services for the tests of the built-in sensors, and a driver that polls without a runtime."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from flowstone.sensors import Arrival, PollError
from flowstone.sensors.cursor import read_state, write_state
from flowstone.sensors.sensor import KEEP

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "hunter2", "region_name": "us-east-1"}


class Poller:
    """Polls a sensor as a runtime does: the state goes through its stored form, and repeats only known arrivals."""

    def __init__(self, sensor: Any, surroundings: Any = None) -> None:
        self.sensor: Any = sensor if surroundings is None else sensor.within(surroundings)
        self.cursor = write_state(sensor, self.sensor.init())
        self.committed: set[str] = set()
        self.answer: Any = None

    @property
    def state(self) -> Any:
        return read_state(self.sensor, self.cursor)

    def poll(self) -> list[Arrival]:
        """The arrivals of one poll that were not committed before, committed now."""
        answer = self.answer = self.sensor.poll(self.state)
        if isinstance(answer, PollError):
            raise answer
        self.committed.update(answer.seen)
        if answer.state is not KEEP:
            self.cursor = write_state(self.sensor, answer.state)
        items: list[Arrival] = [item for item in getattr(answer, "items", ()) if item.key not in self.committed]
        self.committed.update(str(item.key) for item in items)
        return items

    def all(self) -> list[Arrival]:
        """The arrivals of this poll and of those that follow it at once."""
        items = self.poll()
        while self.answer.again:
            items += self.poll()
        return items

    def known(self, keys: Any) -> frozenset[str]:
        """As of surroundings."""
        return frozenset(key for key in keys if key in self.committed)


@pytest.fixture(scope="session")
def poller() -> type[Poller]:
    """Polls a sensor without a runtime."""
    return Poller


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """The address of a server that speaks S3 and SQS."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def backend() -> str:
    """One backend: that of actors makes no difference here."""
    return "greenlets"


@pytest.fixture(params=["memory", "postgresql"])
def store_url(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> str:
    """The URL of an empty store, of each dialect."""
    return make_store_url(request.param)


NUMBERS = itertools.count()


class Bucket:
    """A bucket of its own, with what a sensor needs to know of it."""

    def __init__(self, url: str) -> None:
        import boto3

        self.url = url
        self.name = f"bucket-{next(NUMBERS)}-{threading.get_native_id()}"
        self.client: Any = boto3.client("s3", endpoint_url=url, **KEYS)
        self.queues: Any = boto3.client("sqs", endpoint_url=url, **KEYS)
        self.client.create_bucket(Bucket=self.name)
        self.options: dict[str, Any] = {"bucket": self.name, "endpoint_url": url, **KEYS}

    def put(self, *keys: str, body: str = "1") -> None:
        for key in keys:
            self.client.put_object(Bucket=self.name, Key=key, Body=body.encode())

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def queue(self, visibility: int = 30) -> str:
        """The URL of a queue that the bucket notifies, and that shows messages again after so many seconds."""
        attributes = {"VisibilityTimeout": str(visibility)}
        url = self.queues.create_queue(QueueName=f"queue-{self.name}", Attributes=attributes)
        arn = f"arn:aws:sqs:us-east-1:123456789012:queue-{self.name}"
        wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        self.client.put_bucket_notification_configuration(Bucket=self.name, NotificationConfiguration=wanted)
        return str(url["QueueUrl"])

    def waiting(self, url: str) -> tuple[int, int]:
        """How many messages of a queue can be seen, and how many are hidden."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        got = self.queues.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        return int(got[wanted[0]]), int(got[wanted[1]])


@pytest.fixture
def bucket(aws_url: str) -> Bucket:
    """An empty bucket."""
    return Bucket(aws_url)


class Proxy:
    """A TCP proxy to one address, that lets through only so many bytes of each connection's answer; None is all."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.most: int | None = None
        self.over = False
        self.near = set[socket.socket]()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.over = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.listening.close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Let nothing through, and cut what is connected."""
        self.most = 0
        for connected in list(self.near):
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        yield
        self.most = None

    def _accept(self) -> None:
        while True:
            near, _ = self.listening.accept()
            if self.over:
                near.close()
                return
            self.near.add(near)
            threading.Thread(target=self._serve, args=(near, self.most), daemon=True).start()

    def _serve(self, near: socket.socket, most: int | None) -> None:
        # Where nobody listens behind the proxy, it hangs up.
        with near, suppress(ConnectionRefusedError), socket.create_connection(self.target) as far:
            there = threading.Thread(target=self._pump, args=(near, far, None), daemon=True)
            there.start()
            self._pump(far, near, most)
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            there.join(5)
        self.near.discard(near)

    def _pump(self, source: socket.socket, sink: socket.socket, most: int | None) -> None:
        passed = 0
        try:
            while data := source.recv(65_536):
                allowed = data if most is None else data[: max(0, most - passed)]
                sink.sendall(allowed)
                passed += len(data)
                if most is not None and passed >= most:
                    return
        except OSError:
            return


@pytest.fixture
def make_proxy() -> Iterator[Callable[[str, int], Proxy]]:
    """Makes a proxy before an address."""
    with ExitStack() as open_parts:

        def make(host: str, port: int) -> Proxy:
            made = Proxy(host, port)
            open_parts.callback(made.close)
            return made

        yield make


@pytest.fixture
def proxy(aws_url: str, make_proxy: Callable[[str, int], Proxy]) -> Proxy:
    """A proxy before the server that speaks S3 and SQS."""
    host, _, port = aws_url.removeprefix("http://").partition(":")
    return make_proxy(host, int(port))


class Room:
    """A listing made by hand, for what no real service does on demand: clocks, late objects, other pages."""

    def __init__(self, now: float = 1_736_942_400.0, page: int = 1000) -> None:
        self.now, self.page = now, page
        self.objects: dict[str, tuple[str, float]] = {}
        self.requests: list[dict[str, Any]] = []
        self.errors: list[Exception] = []
        self.dated = True

    def put(self, key: str, body: str = "1", at: float | None = None) -> None:
        self.objects[key] = (body, float(int(self.now if at is None else at)))

    def list_objects_v2(self, **wanted: Any) -> dict[str, Any]:
        from datetime import UTC, datetime
        from email.utils import formatdate

        self.requests.append(wanted)
        if self.errors:
            raise self.errors.pop(0)
        after = wanted.get("ContinuationToken") or wanted.get("StartAfter", "")
        keys = sorted(key for key in self.objects if key.startswith(wanted["Prefix"]) and key > after)
        some = keys[: self.page]
        contents = [
            {
                "Key": key,
                "ETag": f'"{self.objects[key][0]}"',
                "Size": len(self.objects[key][0]),
                "LastModified": datetime.fromtimestamp(self.objects[key][1], UTC),
            }
            for key in some
        ]
        answer: dict[str, Any] = {"Contents": contents, "IsTruncated": len(keys) > len(some)}
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = some[-1]
        if self.dated:
            answer["ResponseMetadata"] = {"HTTPHeaders": {"date": formatdate(self.now, usegmt=True)}}
        return answer


@pytest.fixture(scope="session")
def listing() -> type[Room]:
    """A listing made by hand."""
    return Room
