"""Messages over HTTP, with a real client: answered after the commit, once for each id, refused when they should be."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import flowstone as fs
from flowstone.errors import StoreUnavailable, ValidationError
from flowstone.sensors import FileArrival, GitHubSignature, Push, StripeSignature, Token
from flowstone.web import Server, create_app

SECRET = "hunter2"


class Inbox:
    """A runtime's sensors behind a server, and a client of it."""

    def __init__(self, runtime: Any, server: Server) -> None:
        self.runtime, self.server = runtime, server

    def post(
        self, name: str, body: Any = b'{"day": "d"}', *, path: str = "", method: str = "POST", **headers: str
    ) -> tuple[int, Any, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json"} | {key.replace("_", "-"): v for key, v in headers.items()}
        connection = http.client.HTTPConnection(self.server.url.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, path or f"/sensors/{name}", content, named)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers
        finally:
            connection.close()

    def runs(self) -> int:
        return len(self.runtime.runs.list())


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Callable[..., Inbox]]:
    """Makes an inbox of sensors by name."""
    with ExitStack() as open_parts:

        def make(max_bytes: int = 1000, **sensors: Any) -> Inbox:
            shop = fs.Pipeline("shop")
            shop.asset(lambda context: 1, name="raw")
            for name, sensor in sensors.items():
                shop.sensor(name, sensor, target="raw")
            runtime = open_parts.enter_context(fs.Runtime(shop, store=f"sqlite:///{tmp_path}/store.db"))
            server = Server(create_app(runtime, max_bytes=max_bytes), port=0, threads=4)
            server.start()
            open_parts.callback(server.close)
            return Inbox(runtime, server)

        yield make


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_a_message_is_answered_after_its_commit_and_once(inbox: Any) -> None:
    box = inbox(orders=Push(auth=Token(SECRET)))
    sent = {"Authorization": f"Bearer {SECRET}", "X_Message_Id": "m-1"}
    status, first, _ = box.post("orders", **sent)
    assert (status, first["status"], box.runs()) == (200, "triggered", 1)
    assert first["run_ids"] == [box.runtime.runs.list()[0].run_id]
    assert box.post("orders", {"day": "other"}, **sent)[:2] == (200, first)
    assert box.runs() == 1


def test_the_id_may_be_a_function_of_the_message(inbox: Any) -> None:
    box = inbox(orders=Push(auth=False, message_id=lambda message: message["id"]))
    assert box.post("orders", {"id": "7"}, X_Message_Id="ignored")[1]["status"] == "triggered"
    assert box.runtime.sensors.history("orders")[0].eval_key.endswith(":7")
    status, answer, _ = box.post("orders", {})
    assert (status, answer["error"]["type"]) == (400, "no_message_id")


def test_github_s_form(inbox: Any) -> None:
    box = inbox(orders=Push(auth=GitHubSignature([SECRET, "new"])))
    body = b'{"day": "x"}'
    for number, secret in enumerate((SECRET, "new")):
        given = {"X_Hub_Signature_256": f"sha256={signed(body, secret)}", "X_GitHub_Delivery": f"guid-{number}"}
        assert box.post("orders", body, **given)[0] == 200
    for wrong in ("", "sha1=00", f"sha256={signed(body, 'other')}", f"sha256={signed(b'x')}", "sha256=\xff"):
        status, answer, headers = box.post("orders", body, X_Hub_Signature_256=wrong, X_GitHub_Delivery="guid-2")
        assert (status, answer["error"]["type"], headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer")
    assert box.runs() == 2


def test_stripe_s_form(inbox: Any) -> None:
    box = inbox(orders=Push(auth=StripeSignature(SECRET), message_id=lambda message: message["id"]))
    body, now = b'{"id": "evt_1"}', int(time.time())

    def header(at: Any, **options: Any) -> str:
        return f"t={at},v0=x,v1={signed(str(at).encode() + b'.' + body, **options)}"

    assert box.post("orders", body, Stripe_Signature=header(now))[0] == 200
    wrong = [
        "",
        "t=x,v1=y",
        f"t={now}",
        f"t=1,t=2,v1={signed(body)}",
        header(now - 301),
        header(now + 400),
        header(now, secret="other"),
        header("9" * 20),
    ]
    assert {box.post("orders", body, Stripe_Signature=one)[0] for one in wrong} == {401}


def test_a_plain_token(inbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_TOKEN", SECRET)
    box = inbox(orders=Push(auth=Token("${PUSH_TOKEN}", header="X-Token")), other=Push(auth=Token(SECRET)))
    assert box.post("orders", X_Token=SECRET, Idempotency_Key="1")[0] == 200
    assert box.post("orders", X_Token="wrong", Idempotency_Key="2")[0] == 401
    assert box.post("orders", Idempotency_Key="2")[0] == 401
    assert box.post("other", Authorization=f"Basic {SECRET}", Idempotency_Key="2")[0] == 401
    monkeypatch.delenv("PUSH_TOKEN")
    status, answer, _ = box.post("orders", X_Token=SECRET, Idempotency_Key="3")
    assert (status, answer["error"]["type"]) == (500, "no_secret")


def test_what_is_refused(inbox: Any, tmp_path: Path) -> None:
    box = inbox(orders=Push(auth=False), closed=Push(), files=FileArrival(path=tmp_path / "inbox"))
    with_id = {"X_Message_Id": "1"}
    assert box.post("closed", **with_id)[:1] == (403,)
    assert box.post("nobody", **with_id)[1]["error"]["type"] == "sensor_not_found"
    assert box.post("files", **with_id)[0] == 404
    assert box.post("", path="/other", **with_id)[0] == 404
    assert box.post("orders", method="PUT", **with_id)[0] == 405
    assert box.post("orders", b"{no", **with_id)[1]["error"]["type"] == "bad_json"
    assert box.post("orders")[1]["error"]["type"] == "no_message_id"
    assert box.post("orders", Content_Type="text/plain", **with_id)[0] == 415
    assert box.post("orders", b"[" + b" " * 1000 + b"]", **with_id)[0] == 413
    assert box.post("orders", Content_Type="application/cloudevents+json", **with_id)[0] == 200
    assert box.runs() == 1


@pytest.mark.parametrize("body", [b"NaN", b'{"day": [Infinity]}', b"-1e999", b"[" * 100_000 + b"]" * 100_000])
def test_what_python_alone_reads_as_json_is_refused_for_good(inbox: Any, body: bytes) -> None:
    box = inbox(max_bytes=1_000_000, orders=Push(auth=False))
    status, answer, _ = box.post("orders", body, X_Message_Id="1")
    assert (status, answer["error"]["type"]) == (400, "bad_json")
    assert box.runtime.sensors.history("orders") == ()


class Brief(Push):
    """Keeps of a message what it needs."""

    def receive(self, message: Any) -> Any:
        return fs.Trigger(fs.Arrival("d", payload=len(message)))


def test_a_message_too_large_for_a_payload_is_refused_for_good(inbox: Any) -> None:
    box = inbox(max_bytes=1_000_000, orders=Push(auth=False), brief=Brief(auth=False))
    status, answer, _ = box.post("orders", "x" * 70_000, X_Message_Id="1")
    assert (status, answer["error"]["type"]) == (413, "request_entity_too_large")
    assert "at most 65536 bytes of JSON" in answer["error"]["message"]
    assert box.runtime.sensors.history("orders") == ()
    assert box.post("orders", "x" * 65_534, X_Message_Id="1")[0] == 200
    assert box.post("brief", "x" * 70_000, X_Message_Id="1")[0] == 200


class Failing(Push):
    """Fails as it is told."""

    def receive(self, message: Any) -> Any:
        raise ValueError("with secrets inside")


def test_a_sensor_that_fails_or_is_paused_says_so_without_its_reasons(inbox: Any) -> None:
    box = inbox(orders=Push(auth=False), failing=Failing(auth=False))
    status, answer, _ = box.post("failing", X_Message_Id="1")
    assert (status, answer["error"]["type"]) == (500, "exception:ValueError")
    assert "secrets" not in json.dumps(answer)
    box.runtime.sensors.pause("orders")
    status, answer, headers = box.post("orders", X_Message_Id="1")
    assert (status, answer["error"]["type"], headers["Retry-After"]) == (503, "skipped", "5")
    box.runtime.sensors.resume("orders")
    assert box.post("orders", X_Message_Id="1")[0] == 200


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (StoreUnavailable("sqlite:///secret is gone"), 503, "store_unavailable"),
        (fs.StaleState("secret"), 500, "stale_state"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
    ],
)
def test_a_store_that_is_down_says_when_to_come_back(
    inbox: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, kind: str
) -> None:
    from flowstone.sensors.calls import Sensors

    def failing(*args: Any, **options: Any) -> Any:
        raise error

    box = inbox(orders=Push(auth=False))
    monkeypatch.setattr(Sensors, "push", failing)
    got, answer, headers = box.post("orders", X_Message_Id="1")
    assert (got, answer["error"]["type"], headers.get("Retry-After")) == (status, kind, "5" if status == 503 else None)
    assert "secret" not in json.dumps(answer)


@pytest.mark.concurrent
def test_one_message_sent_by_many_at_once_is_one_run(inbox: Any) -> None:
    box = inbox(orders=Push(auth=False))
    barrier, answers = threading.Barrier(4), list[Any]()

    def send() -> None:
        barrier.wait(10)
        answers.append(box.post("orders", X_Message_Id="1")[:2])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), len({answer[1]["eval_id"] for answer in answers}), box.runs()) == (4, 1, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Push(auth="hunter2"),  # type: ignore[arg-type]  # what the test is about
        lambda: Token(""),
        lambda: GitHubSignature([]),
        lambda: StripeSignature("x", tolerance="soon"),
        lambda: Token("x", heder="X"),  # type: ignore[call-arg]  # what the test is about
    ],
)
def test_a_bad_option_is_refused_without_showing_secrets(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError) as caught:
        make()
    assert SECRET not in str(caught.value)


def test_a_server_may_be_run_by_the_caller_and_on_ipv6(inbox: Any) -> None:
    box = inbox(orders=Push(auth=False))
    server = Server(create_app(box.runtime), host="::1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert Inbox(box.runtime, server).post("orders", X_Message_Id="1")[0] == 200
    finally:
        server.close()
        thread.join(10)
    assert (thread.is_alive(), server.url[:12]) == (False, "http://[::1]")


def test_secrets_are_not_in_the_configuration() -> None:
    spec = fs.SensorSpec("s", Push(auth=Token(SECRET)), target="raw")
    assert SECRET not in json.dumps(spec.config)


def test_the_application_mounts_into_an_asgi_service(inbox: Any) -> None:
    import asyncio

    wsgi = pytest.importorskip("asgiref.wsgi")
    box = inbox(orders=Push(auth=False))
    app = wsgi.WsgiToAsgi(create_app(box.runtime))
    headers = [(b"content-type", b"application/json"), (b"x-message-id", b"1")]
    scope: Any = {"type": "http", "method": "POST", "path": "/sensors/orders", "query_string": b""}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({**scope, "http_version": "1.1", "headers": [*headers, (b"content-length", b"2")]}, receive, send))
    assert (sent[0]["status"], box.runs()) == (200, 1)
