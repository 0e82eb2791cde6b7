"""The contract of sensors, kept by the built-in ones on real services: HTTP, S3 and SQS, PostgreSQL, inotify."""

from __future__ import annotations

import http.client
import itertools
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowstone.sensors import AssetUpdated, DatabaseChange, FileArrival, Push, S3FileArrival, Token, Webhook
from flowstone.sensors.builtin.s3 import notices
from flowstone.testing import sensor_contract
from flowstone.testing.contract import SOURCE
from flowstone.web import Server, create_app


class Page:
    """An HTTP endpoint whose number goes up: of several changes between two polls, only the newest can be seen."""

    def __init__(self) -> None:
        page = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                content, tag = json.dumps({"n": page.number}).encode(), f'"{page.number}"'
                known = page.tells_unchanged and self.headers.get("If-None-Match") == tag
                self.send_response(503 if page.down else 304 if known else 200)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", "0" if known else str(len(content)))
                self.end_headers()
                self.wfile.write(b"" if known else content)

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self.number, self.down, self.tells_unchanged = 0, False, True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def arrive(self, runtime: Any, count: int) -> int:
        self.number += count
        return 1

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.down = True
        yield
        self.down = False

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    """An endpoint on this machine."""
    made = Page()
    yield made
    made.close()


class Objects:
    """Objects that are put into a bucket, behind a network that may fail."""

    def __init__(self, bucket: Any, proxy: Any, keys: Callable[[int], str]) -> None:
        self.bucket, self.proxy, self.keys = bucket, proxy, keys
        self.numbers = itertools.count()

    def client(self, service: str) -> Any:
        """A client of one try, through the network."""
        import boto3
        from botocore.config import Config

        once = Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=5)
        keys = {name: value for name, value in self.bucket.options.items() if name.startswith(("aws", "region"))}
        return boto3.client(service, endpoint_url=f"http://127.0.0.1:{self.proxy.port}", config=once, **keys)

    def arrive(self, runtime: Any, count: int) -> None:
        self.bucket.put(*(self.keys(next(self.numbers)) for _ in range(count)))

    def failing(self) -> Any:
        return self.proxy.down()


class Table:
    """Rows that are committed together and told of on a channel; of a value that counts them, one change is seen."""

    def __init__(self, url: str, *, worth: int | None) -> None:
        self.url, self.worth = url, worth
        self.run(f"create table orders (id {'serial' if self.postgresql else 'integer'} primary key)")

    @property
    def postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def run(self, *statements: str) -> None:
        if not self.postgresql:
            with sqlite3.connect(self.url.partition(":///")[2]) as file:
                for statement in statements:
                    file.execute(statement)
            file.close()
            return
        with psycopg.connect(self.url) as server:
            for statement in statements:
                server.execute(statement)  # type: ignore[arg-type]  # texts of this file

    def arrive(self, runtime: Any, count: int) -> int | None:
        told = ["notify orders"] if self.postgresql else []
        self.run(*["insert into orders default values"] * count, *told)
        return self.worth

    @contextmanager
    def failing(self) -> Iterator[None]:
        self.run("alter table orders rename to away")
        yield
        self.run("alter table away rename to orders")


class Letters:
    """Messages posted over HTTP, each twice; there is nothing to look at that could fail."""

    def __init__(self) -> None:
        self.numbers = itertools.count()

    def arrive(self, runtime: Any, count: int) -> None:
        server = Server(create_app(runtime), port=0, threads=2)
        server.start()
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
        for number in itertools.islice(self.numbers, count):
            headers = {"Content-Type": "application/json", "X-Message-Id": str(number), "Authorization": "Bearer key"}
            for _ in range(2):
                connection.request("POST", "/sensors/contract", json.dumps({"n": number}), headers)
                answer = connection.getresponse()
                assert (answer.status, json.loads(answer.read())["status"]) == (200, "triggered")
        connection.close()
        server.close()


class Folder:
    """Files renamed into folders of a folder; it fails while a file is in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.numbers = itertools.count()

    def arrive(self, runtime: Any, count: int) -> None:
        for number in itertools.islice(self.numbers, count):
            part = self.path.with_name(".part")
            part.write_text("1")
            (self.path / f"{number % 3}").mkdir(parents=True, exist_ok=True)
            part.rename(self.path / f"{number % 3}" / f"{number}.csv")

    @contextmanager
    def failing(self) -> Iterator[None]:
        away = self.path.with_name("away")
        self.path.rename(away)
        self.path.write_text("no folder")
        yield
        self.path.unlink()
        away.rename(self.path)


class Log:
    """Materializations of an asset."""

    def arrive(self, runtime: Any, count: int) -> None:
        for _ in range(count):
            runtime.materialize(SOURCE)


@pytest.mark.parametrize("tells_unchanged", [True, False])
def test_an_endpoint_s_sensor_keeps_it(page: Page, tells_unchanged: bool) -> None:
    page.tells_unchanged = tells_unchanged
    sensor_contract(lambda: Webhook(url=page.url, partition=lambda body: str(body["n"])), page)


@pytest.mark.parametrize("order", ["any", "growing"])
def test_a_bucket_s_sensor_keeps_it(bucket: Any, proxy: Any, order: str) -> None:
    world = Objects(bucket, proxy, lambda number: f"{number if order == 'growing' else number * 7919 % 1000:04}.csv")
    client = world.client("s3")
    options: dict[str, Any] = {"bucket": bucket.name, "client": client, "order": order, "limit": 70}
    sensor_contract(lambda: S3FileArrival(**options), world)
    client.close()


def test_a_queue_s_sensor_keeps_it(bucket: Any, proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harshest of queues: what was read and not deleted is shown again at once."""
    monkeypatch.setattr(notices, "_WAIT", 0)
    world = Objects(bucket, proxy, lambda number: f"ä {number}.csv")
    client = world.client("sqs")
    options: dict[str, Any] = {"bucket": bucket.name, "queue_url": bucket.queue(visibility=0), "limit": 35}
    sensor_contract(lambda: S3FileArrival(queue_client=client, **options), world, burst=60)
    client.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_value_s_sensor_keeps_it(kind: str, make_store_url: Callable[[str], str]) -> None:
    world = Table(make_store_url(kind), worth=1)
    sensor_contract(lambda: DatabaseChange(url=world.url, query="select max(id) from orders"), world)


@pytest.mark.parametrize("key", [None, "id"])
def test_a_table_s_sensor_keeps_it(postgres_url: str, key: str | None) -> None:
    world = Table(postgres_url, worth=None)
    options: dict[str, Any] = {"table": "orders", "high_water": "id", "lookback": 3, "limit": 50, "key": key}
    sensor_contract(lambda: DatabaseChange(url=world.url, **options), world)


def test_a_sensor_that_listens_keeps_it(postgres_url: str) -> None:
    """Polls that notifications ask for come between those of the contract."""
    world = Table(postgres_url, worth=None)
    options: dict[str, Any] = {"table": "orders", "high_water": "id", "limit": 50, "channel": "orders"}
    sensor_contract(lambda: DatabaseChange(url=world.url, **options), world)


def test_a_sensor_that_is_pushed_to_over_http_keeps_it() -> None:
    sensor_contract(Push(auth=Token("key"), partition=lambda message: message["n"]), Letters(), burst=50)


def test_a_watched_folder_s_sensor_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "inbox"
    path.mkdir()
    sensor_contract(lambda: FileArrival(path, watch=True, recursive=True, settle=0), Folder(path))


@pytest.mark.parametrize("existing", ["trigger", "ignore"])
def test_an_asset_s_sensor_keeps_it(existing: str) -> None:
    sensor_contract(lambda: AssetUpdated(SOURCE, existing=existing), Log(), burst=20)
