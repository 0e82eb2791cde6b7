"""An HTTP endpoint that is asked again and again, well-behaved or not."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.errors import ValidationError
from flowstone.sensors import PollError, SensorSpec, Webhook
from flowstone.sensors.builtin.webhook.fetching import retry_after

Answer = Callable[[Any], None]


class Endpoint:
    """A real HTTP server that answers what a test tells it to; `requests` are those that came."""

    def __init__(self) -> None:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                told = (self.command, self.path, dict(self.headers), self.rfile.read(length))
                endpoint.requests.append(told)
                endpoint.answers.get(self.path, endpoint.answer)(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                return None

        self.requests: list[Any] = []
        self.answers: dict[str, Answer] = {}
        self.answer: Answer = say("{}")
        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def say(body: str | bytes, status: int = 200, **headers: str) -> Answer:
    """Answers this."""
    content = body.encode() if isinstance(body, str) else body

    def answer(handler: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def drip(endpoint: Endpoint, head: bytes, piece: bytes) -> Answer:
    """Writes a head, then a piece every few milliseconds, for ever."""

    def answer(handler: Any) -> None:
        try:
            handler.connection.sendall(head)
            while not endpoint.over.wait(0.01):
                handler.connection.sendall(piece)
        except OSError:
            handler.close_connection = True

    return answer


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A server on this machine."""
    made = Endpoint()
    yield made
    made.close()


def test_initializes_with_http_config() -> None:
    sensor = Webhook(
        url="https://api.example.com/status",
        headers=[("Authorization", "Bearer token")],
        check=lambda body: body["ready"],
        partition=lambda body: body["partition"],
    )
    assert sensor.url == "https://api.example.com/status"
    assert sensor.headers == {"Authorization": "***"}
    assert sensor.init()["etag"] is None


def test_triggers_when_check_function_returns_true(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answer = say('{"ready": true, "date": "2025-01-15"}')
    sensor = Webhook(url=endpoint.url, check=lambda body: body["ready"] is True, partition=lambda body: body["date"])
    (item,) = poller(sensor).poll()
    assert (item.partition, item.payload["status"], item.payload["body"]["ready"]) == ("2025-01-15", 200, True)


def test_does_not_trigger_when_check_returns_false(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answer = say('{"ready": false}')
    watch = poller(Webhook(url=endpoint.url, check=lambda body: body["ready"]))
    assert (watch.poll(), watch.answer.reason) == ([], "the check does not hold")


def test_handles_http_errors(endpoint: Endpoint, poller: Any) -> None:
    gone = poller(Webhook(url="http://127.0.0.1:9/path?token=hunter2"))
    with pytest.raises(PollError) as caught:
        gone.poll()
    assert (caught.value.code, str(caught.value)) == ("network_error", "http://127.0.0.1:9/path: Connection refused")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
def test_handles_non_200_status_codes(endpoint: Endpoint, poller: Any, status: int) -> None:
    endpoint.answer = say("secret text", status=status, Retry_After="17")
    with pytest.raises(PollError) as caught:
        poller(Webhook(url=f"{endpoint.url}/x?token=hunter2")).poll()
    assert (caught.value.code, caught.value.retry_after) == (f"http_status:{status}", 17.0)
    assert caught.value.reason == f"{endpoint.url}/x answers {status}"


def test_by_default_each_new_body_triggers_for_the_day_of_the_poll(endpoint: Endpoint, poller: Any) -> None:
    watch = poller(Webhook(url=endpoint.url))
    (item,) = watch.poll()
    assert isinstance(item.partition, date)
    assert (watch.poll(), watch.answer.reason) == ([], "the body equals the last one that triggered")
    endpoint.answer = say("{} ")
    assert len(watch.poll()) == 1
    endpoint.answer = say("{}")
    assert len(watch.poll()) == 1


def test_what_is_not_modified_does_not_trigger(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answer = say("1", ETag='"e"', Last_Modified="Wed, 15 Jan 2025 12:00:00 GMT")
    watch = poller(Webhook(url=endpoint.url))
    assert len(watch.poll()) == 1
    endpoint.answer = say("", status=304)
    assert (watch.poll(), watch.answer.reason) == ([], "not modified")
    sent = endpoint.requests[-1][2]
    assert (sent["If-None-Match"], sent["If-Modified-Since"]) == ('"e"', "Wed, 15 Jan 2025 12:00:00 GMT")


def test_another_url_begins_afresh(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answer = say("1", ETag='"e"')
    watch = poller(Webhook(url=endpoint.url))
    watch.poll()
    watch.sensor = Webhook(url=f"{endpoint.url}/other")
    assert len(watch.poll()) == 1
    assert "If-None-Match" not in endpoint.requests[-1][2]


def test_method_headers_and_body_are_sent(endpoint: Endpoint, poller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2")
    options: dict[str, Any] = {"method": "POST", "headers": {"X-Key": "${API_TOKEN}"}}
    poller(Webhook(url=endpoint.url, json={"q": ["${API_TOKEN}", 1]}, **options)).poll()
    poller(Webhook(url=endpoint.url, data="q=${API_TOKEN}", **options)).poll()
    first, second = endpoint.requests
    assert (first[0], first[2]["X-Key"], json.loads(first[3])) == ("POST", "hunter2", {"q": ["hunter2", 1]})
    assert second[3] == b"q=hunter2"


def test_a_secret_that_is_not_set_is_an_error(endpoint: Endpoint, poller: Any) -> None:
    with pytest.raises(PollError) as caught:
        poller(Webhook(url=endpoint.url, headers={"X-Key": "${NO_SUCH_SECRET}"})).poll()
    assert (caught.value.code, endpoint.requests) == ("no_secret", [])


def test_secrets_are_masked() -> None:
    sensor = Webhook(
        url="https://ann:hunter2@example.com/x?api_key=hunter2",
        headers={"X-Custom": "hunter2", "Accept": "text/plain", "Authorization": "${TOKEN}"},
        data="hunter2",
    )
    config = SensorSpec("s", sensor, target="raw").config
    assert "hunter2" not in json.dumps(config)
    assert (config["headers"]["Accept"], sensor.headers["Authorization"]) == ("text/plain", "${TOKEN}")
    sent = Webhook(url="https://example.com", json={"any": "hunter2"})
    assert "hunter2" not in json.dumps(SensorSpec("s", sent, target="raw").config)


@pytest.mark.parametrize(
    ("body", "headers", "parse", "read"),
    [
        ('{"a": 1}', {}, "auto", {"a": 1}),
        ("7", {"Content_Type": "application/json"}, "auto", 7),
        ("7", {}, "auto", "7"),
        ("{no json", {}, "auto", "{no json"),
        ('{"a": 1}', {}, "text", '{"a": 1}'),
        ("7", {}, "json", 7),
        ("é".encode("latin-1"), {"Content_Type": "text/plain; charset=latin-1"}, "auto", "é"),
        ("é", {"Content_Type": "text/plain; charset=nonsense"}, "auto", "é"),
        (b"\xff", {}, "auto", "\ufffd"),
    ],
)
def test_a_body_is_json_or_text(
    endpoint: Endpoint, poller: Any, body: Any, headers: Any, parse: str, read: Any
) -> None:
    endpoint.answer = say(body, **headers)
    seen: list[Any] = []
    poller(Webhook(url=endpoint.url, parse=parse, check=seen.append)).poll()
    assert seen == [read]


@pytest.mark.parametrize(("headers", "parse"), [({}, "json"), ({"Content_Type": "text/json"}, "auto")])
def test_garbage_in_place_of_json_is_an_error(endpoint: Endpoint, poller: Any, headers: Any, parse: str) -> None:
    endpoint.answer = say("{garbage", **headers)
    with pytest.raises(PollError) as caught:
        poller(Webhook(url=endpoint.url, parse=parse)).poll()
    assert caught.value.code == "bad_json"


def test_a_large_body_is_checked_but_does_not_travel(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answer = say("x" * 40_000)
    (item,) = poller(Webhook(url=endpoint.url)).poll()
    assert item.payload == {"status": 200, "body": None}


def code_of(poller: Any, sensor: Webhook) -> str:
    with pytest.raises(PollError) as caught:
        poller(sensor).poll()
    return str(caught.value.code)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b""),
        (OK, b"X-Drip: 1\r\n"),
        (OK + b"Content-Length: 1000\r\n\r\n", b""),
        (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
        (OK + b"\r\n", b"x"),
        (OK + b"\r\n", b""),
    ],
)
def test_a_slow_server_is_given_up_in_time(endpoint: Endpoint, poller: Any, head: bytes, piece: bytes) -> None:
    endpoint.answer = drip(endpoint, head, piece)
    assert code_of(poller, Webhook(url=endpoint.url, timeout="300ms")) == "timeout"


def test_an_endless_body_is_cut(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answer = drip(endpoint, OK + b"\r\n", b"x" * 10_000)
    assert code_of(poller, Webhook(url=endpoint.url, max_bytes=50_000)) == "too_large"


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", OK + b"Content-Length: 10\r\n\r\nx"])
def test_a_server_that_cuts_or_talks_nonsense_is_a_network_error(
    endpoint: Endpoint, poller: Any, answer: bytes
) -> None:
    def cut(handler: Any) -> None:
        handler.connection.sendall(answer)
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    endpoint.answer = cut
    assert code_of(poller, Webhook(url=endpoint.url)) == "network_error"


def test_redirects_are_followed_within_limits(endpoint: Endpoint, poller: Any) -> None:
    endpoint.answers = {"/a": say("", 302, Location="/b"), "/b": say("[1]"), "/loop": say("", 301, Location="/loop")}
    (item,) = poller(Webhook(url=f"{endpoint.url}/a", method="POST", headers={"X-Key": "k"}, json=1)).poll()
    assert item.payload["body"] == [1]
    assert [(told[0], told[2].get("X-Key")) for told in endpoint.requests] == [("POST", "k"), ("GET", "k")]
    assert code_of(poller, Webhook(url=f"{endpoint.url}/loop", max_redirects=2)) == "too_many_redirects"
    endpoint.answers["/a"] = say("", 307, Location="/b")
    poller(Webhook(url=f"{endpoint.url}/a", method="POST", json=1)).poll()
    assert endpoint.requests[-1][0] == "POST"


@pytest.mark.parametrize("target", ["ftp://example.com/x", "https:///x", "file:///etc/passwd"])
def test_a_redirect_leads_to_http_only(endpoint: Endpoint, poller: Any, target: str) -> None:
    endpoint.answer = say("", 302, Location=target)
    assert code_of(poller, Webhook(url=endpoint.url)) == "bad_redirect"


def test_headers_do_not_follow_to_another_server(endpoint: Endpoint, poller: Any) -> None:
    other = Endpoint()
    endpoint.answer = say("", 302, Location=other.url)
    poller(Webhook(url=endpoint.url, headers={"X-Key": "hunter2"})).poll()
    assert "X-Key" not in other.requests[0][2]
    other.close()


def test_private_addresses_are_refused_by_option(endpoint: Endpoint, poller: Any) -> None:
    assert code_of(poller, Webhook(url=endpoint.url, private=False)) == "private_address"
    named = endpoint.url.replace("127.0.0.1", "localhost")
    assert code_of(poller, Webhook(url=named, private=False)) == "private_address"
    assert endpoint.requests == []


def test_tls_is_checked(endpoint: Endpoint, poller: Any) -> None:
    assert code_of(poller, Webhook(url=endpoint.url.replace("http", "https"))) == "tls_error"


def test_a_session_of_ones_own_is_used(endpoint: Endpoint, poller: Any) -> None:
    import requests

    session = requests.Session()
    session.headers["X-Own"] = "1"
    watch = poller(Webhook(url=endpoint.url, session=session, timeout="200ms"))
    assert len(watch.poll()) == 1
    assert endpoint.requests[0][2]["X-Own"] == "1"
    endpoint.answer = drip(endpoint, OK + b"\r\n", b"x" * 70_000)
    with pytest.raises(PollError) as caught:
        poller(Webhook(url=endpoint.url, session=session, timeout="200ms", max_bytes=10**9)).poll()
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("120", 120.0), ("soon", None), ("Wed, 15 Jan 2025 12:01:00 GMT", 60.0),
     ("Wed, 15 Jan 2025 11:00:00 GMT", 0.0), ("Wed, 15 Jan 2025 12:01:00", None)],
)  # fmt: skip
def test_how_long_to_stay_away(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, datetime(2025, 1, 15, 12, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://[x"}, "url"),
        ({"url": 7}, "url"),
        ({"method": "POTS"}, "did you mean 'POST'"),
        ({"parse": "jsn"}, "did you mean 'json'"),
        ({"check": 1}, "check"),
        ({"partition": 1}, "partition"),
        ({"data": 1}, "data"),
        ({"data": "x", "json": 1}, "data"),
        ({"headers": 7}, "headers"),
        ({"headers": {"X": 1}}, "headers"),
        ({"headers": {"X": "a\nb"}}, "headers"),
        ({"timeout": 0}, "timeout"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_redirects": -1}, "max_redirects"),
        ({"private": "no"}, "private"),
        ({"private": False, "session": object()}, "private"),
        ({"check_fn": 1}, "did you mean 'check'"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Webhook(**{"url": "http://x", **options})


FAULTS = st.sampled_from(["new", "new", "same", "503", "cut", "slow", "poll", "poll", "lose", "restart"])


@pytest.mark.property
@settings(max_examples=15, deadline=None)
@given(st.lists(FAULTS, max_size=14))
def test_the_runs_are_the_answers_that_are_new(poller: Any, steps: list[str]) -> None:
    """Each body that a poll was given triggers once, and again only after another one."""
    endpoint = Endpoint()
    try:
        sensor = Webhook(url=endpoint.url, timeout="150ms", partition=lambda body: str(body["n"]))
        watch = poller(sensor)
        number, expected, runs = 0, list[str](), list[str]()
        for step in [*steps, "poll"]:
            good = say(json.dumps({"n": number}), ETag=f'"{number}"')
            endpoint.answer = good
            if step == "new":
                number += 1
            elif step in ("503", "cut", "slow"):
                endpoint.answer = {
                    "503": say("", 503),
                    "cut": lambda handler: handler.connection.shutdown(socket.SHUT_RDWR),
                    "slow": drip(endpoint, b"", b""),
                }[step]
                code_of(poller=lambda sensor: watch, sensor=sensor)
            elif step == "lose":
                watch.sensor.poll(watch.state)
            elif step == "restart":
                watch.sensor = Webhook(url=endpoint.url, timeout="150ms", partition=sensor.partition)
            elif step == "poll":
                runs += [str(item.partition) for item in watch.poll()]
                expected += [str(number)] if expected[-1:] != [str(number)] else []
        assert runs == expected
    finally:
        endpoint.close()


def test_an_endpoint_under_a_runtime(endpoint: Endpoint, room: Any) -> None:
    room.open(SensorSpec("orders", Webhook(url=endpoint.url), every="30s", target="raw"))
    assert room.sensors.poll("orders").request_count == 1
    assert [day for _, _, day in room.published] == [room.clock.now().date()]
    endpoint.answer = say("", 503, Retry_After="600")
    assert room.sensors.poll("orders").reason_code == "http_status:503"
    count = len(endpoint.requests)
    room.clock.advance(590)
    assert len(endpoint.requests) == count
    room.clock.advance(20)
    assert len(endpoint.requests) == count + 1
