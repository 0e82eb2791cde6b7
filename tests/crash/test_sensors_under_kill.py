"""Built-in sensors on real services, killed again and again: one run and one success for each thing that arrived.

The services, which are S3, SQS, an HTTP endpoint and a database, are not killed: things arrive in them all the time.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from select import select
from typing import Any

import psycopg
import pytest

from flowstone.core.partitions import decode_partition
from flowstone.state.connection import Connection
from flowstone.state.database import Database

PROGRAM = Path(__file__).parent / "programs" / "sensors.py"
KILLS = 6
"""At moments that are drawn, beside those at moments that are chosen."""

LONGEST_LIFE = 0.5
MOST_DRAINS = 20
HELD = ("listed", "told", "rows", "page", "pushed")
NAMES = (*HELD, "followed")
AWS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
VISIBILITY = 1
"""Seconds for which a message that was read is hidden: what a life read and did not delete, a later one is shown."""


class Page:
    """An HTTP endpoint that shows a number."""

    def __init__(self) -> None:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps({"n": f"page-{page.number}"}).encode()
                self.send_response(200)
                self.send_header("ETag", f'"{page.number}"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self.number = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Who asks may be killed while he is answered.
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]  # of this server
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class World:
    """Where things arrive: `arrived` says what, by the name of the sensor; `acknowledged` has the runs of messages."""

    def __init__(self, aws_url: str, shop: str, page: Page) -> None:
        import boto3

        self.aws = {**AWS, "endpoint_url": aws_url}
        self.s3, self.sqs = (boto3.client(service, **self.aws) for service in ("s3", "sqs"))
        self.shop, self.page = shop, page
        tag = f"{os.getpid()}-{shop.rpartition('/')[0].partition(':')[0]}"
        self.listed, self.told = f"listed-{tag}", f"told-{tag}"
        for bucket in (self.listed, self.told):
            self.s3.create_bucket(Bucket=bucket)
        hidden = {"VisibilityTimeout": str(VISIBILITY)}
        self.queue = self.sqs.create_queue(QueueName=self.told, Attributes=hidden)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:123456789012:{self.told}"
        wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        self.s3.put_bucket_notification_configuration(Bucket=self.told, NotificationConfiguration=wanted)
        self.run("create table shop_orders (at integer primary key)")
        self.arrived: dict[str, list[str]] = {name: [] for name in NAMES} | {"page": ["page-0"]}
        # One sensor follows what the runs of another one make.
        self.arrived["followed"] = self.arrived["listed"]
        self.acknowledged: dict[str, str] = {}

    def run(self, sql: str, *parameters: object) -> None:
        if self.shop.startswith("sqlite"):
            file = sqlite3.connect(self.shop.partition(":///")[2])
            file.execute(sql, parameters)
            file.commit()
            file.close()
        else:
            with psycopg.connect(self.shop) as server:
                server.execute(sql.replace("?", "%s"), parameters)  # type: ignore[arg-type]  # texts of this file

    def go_on(self, life: int, address: str | None) -> None:
        """Objects, rows in any order, messages: three of each."""
        for number in range(3):
            for name, bucket in (("listed", self.listed), ("told", self.told)):
                # Keys in no order: by the last digit of the number first.
                key = f"{f'{life}{number}'[::-1]}/ä {life}.{number}.csv"
                self.s3.put_object(Bucket=bucket, Key=key, Body=b"1")
                self.arrived[name].append(key)
            # The last one of a life lies below what the life before brought.
            at = 10 * life + number if number < 2 else 10 * life - 5
            self.run("insert into shop_orders values (?)", at)
            self.arrived["rows"].append(f"row-{at}")
            self.arrived["pushed"].append(f"push-{life}.{number}")
        self.push_all(address)

    def push_all(self, address: str | None) -> None:
        """Push what was not acknowledged, until the one who takes it is killed."""
        for name in self.arrived["pushed"]:
            if name not in self.acknowledged and address is not None:
                try:
                    self.acknowledged[name] = pushed(address, name)
                except (OSError, http.client.HTTPException):
                    return

    def look_back(self, runs: dict[str, list[str]]) -> None:
        """What was taken leaves; the endpoint shows something new once what it shows was taken."""
        for key in set(runs["listed"]) & set(self.arrived["listed"][-3:]):
            self.s3.delete_object(Bucket=self.listed, Key=key)
        for name in set(runs["rows"]) & set(self.arrived["rows"][-3:]):
            self.run("delete from shop_orders where at = ?", int(name.removeprefix("row-")))
        if f"page-{self.page.number}" in runs["page"]:
            self.page.number += 1
            self.arrived["page"].append(f"page-{self.page.number}")

    def is_read(self) -> bool:
        """Whether the queue has nothing left, and hides nothing."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        got = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return [int(got[name]) for name in names] == [0, 0]


def pushed(address: str, name: str) -> str:
    """The run of a message, once it is acknowledged."""
    connection = http.client.HTTPConnection(address, timeout=20)
    headers = {"Content-Type": "application/json", "X-Message-Id": name, "Authorization": "Bearer key"}
    try:
        connection.request("POST", "/sensors/pushed", json.dumps({"n": name}), headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(content)
    return str(content["run_ids"][0])


class Service:
    """One life after the other; they write into `folder`."""

    def __init__(self, world: World, store: str, folder: Path) -> None:
        told = {"store": store, "folder": str(folder), "page": world.page.url, "aws": world.aws, "shop": world.shop}
        told |= {"listed": world.listed, "told": world.told, "queue": world.queue}
        command = [sys.executable, str(PROGRAM), json.dumps(told)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()

    def hear(self, wanted: str) -> str:
        """What follows this word when it is said next."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == wanted:
                return rest
        raise AssertionError(f"the process that forks has ended before it said {wanted!r}")

    def born(self, kind: str = "") -> int:
        self.ask(f"life {kind}")
        return int(self.hear("born"))

    def address(self) -> str:
        """Where messages can be pushed."""
        return self.hear("serving").removeprefix("http://")

    def die(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        assert self.hear("ended") == str(-signal.SIGKILL)

    def close(self) -> None:
        with self.process as process:
            process.kill()


@pytest.fixture
def make_world(make_store_url: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """Makes a world whose database is of a kind, on services that run in this process."""
    from moto.server import ThreadedMotoServer

    with ExitStack() as open_parts:

        def make(kind: str) -> World:
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            open_parts.callback(server.stop)
            page = Page()
            open_parts.callback(page.close)
            shop = f"sqlite:///{tmp_path}/shop.db" if kind == "sqlite" else make_store_url(kind)
            host, port = server.get_host_and_port()
            return World(f"http://{host}:{port}", shop, page)

        yield make


@pytest.mark.crash
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_arrival_has_one_run_and_one_success_whatever_is_killed_when(
    kind: str, make_world: Callable[[str], World], make_store_url: Callable[[str], str], tmp_path: Path
) -> None:
    world, store = make_world(kind), make_store_url(kind)
    chance = random.Random(os.environ.get("PYTEST_RANDOMLY_SEED", "1"))
    service = Service(world, store, tmp_path)
    try:
        die_in_progress(service, world)
        for life, name in enumerate([*NAMES, *[None] * KILLS], 2):
            runs: dict[str, list[str]] = reading(store, runs_by_asset)
            world.look_back(runs)
            if name is None:
                die_at_any_time(service, world, life, chance)
            else:
                die_in_hand(service, world, life, name)
        finish(service, world, store)
    finally:
        service.close()
    assert set(world.acknowledged) == set(world.arrived["pushed"])
    reading(store, partial(check, world=world, calls=tmp_path / "calls"))


def die_in_progress(service: Service, world: World) -> None:
    """A life whose runs go no further, killed when one of each sensor is in progress that waits for no other run."""
    pid = service.born("hold")
    world.go_on(1, service.address())
    assert world.acknowledged.keys() == {f"push-1.{number}" for number in range(3)}
    waiting = set(HELD)
    while waiting:
        waiting.discard(service.hear("in").removeprefix("progress "))
    service.die(pid)


def die_in_hand(service: Service, world: World, life: int, name: str) -> None:
    """A life that is killed when this sensor has something in hand, of which nothing is written."""
    service.born(name)
    world.go_on(life, service.address() if name == "pushed" else None)
    assert service.hear("ended") == str(-signal.SIGKILL)


def die_at_any_time(service: Service, world: World, life: int, chance: random.Random) -> None:
    """A life that is killed while things arrive; one in four before it serves, or soon after."""
    pid = service.born()
    address = service.address() if chance.random() < 0.75 else None
    arriving = threading.Thread(target=world.go_on, args=(life, address))
    arriving.start()
    # Not a wait for something: the moment of the kill is what is drawn.
    select([], [], [], chance.uniform(0, LONGEST_LIFE))
    service.die(pid)
    arriving.join()


def finish(service: Service, world: World, store: str) -> None:
    """A life that takes all that is left, and stops."""
    service.born()
    world.push_all(service.address())
    for _ in range(MOST_DRAINS):
        service.ask("drain")
        service.hear("drained")
        if world.is_read():
            break
    service.ask("stop")
    assert service.hear("ended") == "0"
    assert world.is_read(), "messages of the queue are left"


def reading(store: str, query: Callable[[Connection], Any]) -> Any:
    with Database.open(store, exclusive=False) as database:
        return database.read(query)


def runs_by_asset(connection: Connection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for row in connection.execute("select asset, partition from run"):
        found[row.asset].append(str(decode_partition(row.partition)))
    return found


def check(connection: Connection, world: World, calls: Path) -> None:
    """What the store holds against what arrived, what was acknowledged, and the calls that really happened."""
    expected = {name: sorted(arrived) for name, arrived in world.arrived.items()}
    assert {name: sorted(found) for name, found in runs_by_asset(connection).items()} == expected
    rows = connection.execute("select asset, run_id, status, interruptions from run")
    runs = [(row.asset, row.run_id, row.status, row.interruptions) for row in rows]
    assert {status for _, _, status, _ in runs} == {"success"}
    successes = connection.execute("select count(*) as n from materialization where status = 'success'")
    assert successes[0].n == len(runs)
    made = Counter(line.split()[1] for line in calls.read_text().splitlines())
    for _, run_id, _, interruptions in runs:
        assert 1 <= made[run_id] <= 1 + interruptions
    interrupted = {name for name, _, _, interruptions in runs if interruptions}
    assert interrupted >= set(HELD), "no kill has found a run in progress"
    assert set(world.acknowledged.values()) == {run_id for name, run_id, _, _ in runs if name == "pushed"}
    assert not connection.execute("select eval_key from evaluation group by eval_key having count(*) > 1")
