"""Messages over HTTP through a network that cuts: each that was sent until it was acknowledged has one run."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowstone as fs
from flowstone.sensors import Push, Token
from flowstone.web import Server, create_app

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Unclear(Exception):
    """There was no answer: the message was taken, or it was not."""


class Inbox:
    """A service with one sensor behind a proxy, that can be stopped and started again on its store."""

    def __init__(self, proxy: Any, folder: Path) -> None:
        self.proxy, self.folder = proxy, folder
        self.parts = ExitStack()
        self.runtime: Any = None

    def start(self) -> None:
        shop = fs.Pipeline("shop")
        shop.asset(lambda context: 1, name="raw")
        shop.sensor("orders", Push(auth=Token("key"), partition=lambda message: message["n"]), target="raw")
        self.runtime = self.parts.enter_context(fs.Runtime(shop, store=f"sqlite:///{self.folder}/store.db"))
        server = Server(create_app(self.runtime, max_bytes=1000), port=0, threads=4)
        server.start()
        self.parts.callback(server.close)
        host, _, port = server.url.removeprefix("http://").partition(":")
        self.proxy.target = (host, int(port))

    def stop(self) -> None:
        self.parts.close()

    def post(self, number: int, *, token: str = "key", size: int = 0) -> tuple[int, Any]:
        """The status and the content of what is answered to a message."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=20)
        named = {"Content-Type": "application/json", "X-Message-Id": f"m{number}", "Authorization": f"Bearer {token}"}
        try:
            connection.request("POST", "/sensors/orders", json.dumps({"n": str(number), "more": " " * size}), named)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unclear(number) from error
        finally:
            connection.close()

    def at_once(self, number: int) -> list[tuple[int, Any]]:
        """The answers to a message that is sent by three at once."""
        answers: list[tuple[int, Any]] = []
        threads = [threading.Thread(target=lambda: answers.append(self.post(number))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers


class Sender:
    """Sends messages, and keeps what was acknowledged: the evaluation of each."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.sent: set[int] = set()
        self.acknowledged: dict[int, Any] = {}

    def keep(self, number: int, *answers: tuple[int, Any]) -> None:
        for status, content in answers:
            assert status == 200
            assert self.acknowledged.setdefault(number, content) == content

    def send(self, number: int) -> None:
        self.sent.add(number)
        self.keep(number, self.inbox.post(number))

    def send_thrice(self, number: int) -> None:
        self.sent.add(number)
        self.keep(number, *self.inbox.at_once(number))

    def cut(self, number: int) -> None:
        """The message comes through, the answer does not, or not all of it."""
        self.sent.add(number)
        self.inbox.proxy.most = 7 * number
        with pytest.raises(Unclear):
            self.inbox.post(number)
        self.inbox.proxy.most = None

    def restart(self, number: int) -> None:
        self.inbox.stop()
        self.inbox.start()

    def refused(self, number: int) -> None:
        """A wrong token, and too large a body: neither consumes the id."""
        assert self.inbox.post(number, token="wrong")[0] == 401
        assert self.inbox.post(number, size=1000)[0] == 413

    def paused(self, number: int) -> None:
        """A paused sensor takes nothing new."""
        self.inbox.runtime.sensors.pause("orders")
        self.sent.add(number)
        status, content = self.inbox.post(number)
        self.inbox.runtime.sensors.resume("orders")
        assert status in ({200} if number in self.acknowledged else {200, 503})
        if status == 200:
            self.keep(number, (status, content))

    def down(self, number: int) -> None:
        """Nothing serves."""
        self.sent.add(number)
        self.inbox.stop()
        with pytest.raises(Unclear):
            self.inbox.post(number)
        self.inbox.start()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send_thrice", "cut", "cut", "restart", "refused", "paused", "down"]),
        st.integers(0, 5),
    ),
    max_size=12,
)


@pytest.mark.property
@settings(SLOW, max_examples=12)
@given(steps=STEPS)
def test_the_runs_are_the_messages(
    make_proxy: Any, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Messages sent again and at once, answers that are cut, refusals, pauses, restarts, times without a service."""
    inbox = Inbox(make_proxy("127.0.0.1", 9), tmp_path_factory.mktemp("inbox"))
    sender = Sender(inbox)
    inbox.start()
    try:
        for step, number in steps:
            getattr(sender, step)(number)
        for number in sorted(sender.sent):
            sender.send(number)
        inbox.runtime.drain()
        runs = {run.partition: run for run in inbox.runtime.runs.list(limit=100)}
        assert len(inbox.runtime.runs.list(limit=100)) == len(runs)
        assert sorted(runs) == sorted(map(str, sender.sent))
        told = {str(number): content["run_ids"] for number, content in sender.acknowledged.items()}
        assert told == {partition: [run.run_id] for partition, run in runs.items()}
    finally:
        inbox.stop()
