"""The web application: `POST /sensors/NAME` pushes a message, and answers 200 after the commit.

It is a WSGI application, to be served by `flowstone web`, or mounted into one of the user's. Answers are JSON, errors
`{"error": {"type": …, "message": …}}`:

| status | when |
|---|---|
| 200 | the message was evaluated, now or before: `eval_id status reason run_ids` |
| 400 | no JSON, or no message id |
| 401 | the signature, its time or the token is wrong |
| 403 | the sensor takes no messages over HTTP: its `Push` has no `auth=` |
| 404, 405 | no such sensor, or another path or method |
| 413, 415 | the body, or the payload that the message would be, is too large; it is not `application/json` |
| 500 | the sensor's own code failed; the message may be sent again |
| 503 | the store is down or the sensor is paused: `Retry-After` says when to send the message again |
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Protocol

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from flowstone.errors import ExecutionError, FlowstoneError, RuntimeStopped, SensorNotFound, StoreUnavailable
from flowstone.errors import ValidationError
from flowstone.sensors import Push
from flowstone.sensors.answers import LARGEST_PAYLOAD
from flowstone.sensors.calls import Sensors
from flowstone.sensors.rows import EvaluationRow, EvaluationStatus
from flowstone.sensors.sensor import PollError

__all__ = ["MOST_BYTES", "RETRY_AFTER", "create_app"]

log = logging.getLogger(__name__)

MOST_BYTES = 1_000_000
"""Of a body."""

RETRY_AFTER = 5
"""Seconds after which a message may be sent again that could not be taken."""

AGAIN = ("Retry-After", str(RETRY_AFTER))
ID_HEADERS = ("Idempotency-Key", "X-Message-Id", "Webhook-Id", "X-GitHub-Delivery")


class Calls(Protocol):
    """A runtime, or a client."""

    @property
    def sensors(self) -> Sensors:
        """Calls about sensors."""


class Refusal(Exception):
    """A request that is answered by an error."""

    def __init__(self, status: int, kind: str, message: str, header: tuple[str, str] | None = None) -> None:
        super().__init__(status, kind, message, header)
        self.status, self.kind, self.message = status, kind, message
        self.headers = {} if header is None else dict([header])


def create_app(calls: Calls, *, max_bytes: int = MOST_BYTES) -> Flask:
    """The application that pushes to the sensors of a runtime or a client, which has to be open while it serves."""
    app = Flask("flowstone.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_bytes

    @app.post("/sensors/<name>")
    def push(name: str) -> Response:
        return _pushed(calls, name)

    app.register_error_handler(Exception, _failed)
    return app


def _pushed(calls: Calls, name: str) -> Response:
    sensor = _sensor(calls, name)
    body = request.get_data(cache=False)
    if sensor.auth:
        reason = sensor.auth.refusal(request.headers, body, datetime.now(UTC))
        if reason is not None:
            raise Refusal(401, "unauthorized", reason, ("WWW-Authenticate", "Bearer"))
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise Refusal(415, "unsupported_media_type", f"expected application/json, got: {request.mimetype or 'nothing'}")
    message = _message(sensor, body)
    return _told(calls.sensors.push(name, message, message_id=_message_id(sensor)))


def _sensor(calls: Calls, name: str) -> Push:
    sensor = calls.sensors.definition(name).sensor
    if not isinstance(sensor, Push):
        raise Refusal(404, "sensor_not_found", f"sensor {name!r} takes no messages: it is polled")
    if sensor.auth is None:
        raise Refusal(403, "no_auth", f"sensor {name!r} takes no messages over HTTP: its Push has no auth=")
    return sensor


def _message(sensor: Push, body: bytes) -> Any:
    try:
        message = json.loads(body)
        # Python reads NaN, and numbers beyond all bounds, which no JSON has: sent again they would be no better.
        size = len(json.dumps(message, allow_nan=False))
    except (ValueError, RecursionError):
        raise Refusal(400, "bad_json", "expected the body to be JSON") from None
    if size > LARGEST_PAYLOAD and type(sensor).receive is Push.receive:
        limit = f"expected a message of at most {LARGEST_PAYLOAD} bytes of JSON, which become the payload, got: {size}"
        raise Refusal(413, "request_entity_too_large", limit)
    return message


def _message_id(sensor: Push) -> str | None:
    """The id that a header gives; none where the sensor computes it from what was signed."""
    if sensor.message_id is not None:
        return None
    for header in ID_HEADERS:
        if request.headers.get(header):
            return request.headers[header]
    message = f"expected a message id in one of the headers {', '.join(ID_HEADERS)}"
    raise Refusal(400, "no_message_id", message)


def _told(row: EvaluationRow) -> Response:
    if row.status is EvaluationStatus.SKIPPED:
        raise Refusal(503, "skipped", f"the sensor is {row.reason}", AGAIN)
    if row.status is EvaluationStatus.ERROR:
        # The reason may hold what the sensor's code knows; people find it by the id.
        raise Refusal(500, str(row.reason_code), f"the message could not be evaluated: {row.eval_id}")
    told = {"eval_id": row.eval_id, "status": row.status, "reason": row.reason, "run_ids": list(row.run_ids)}
    return _answer(200, told)


def _answer(status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content) + "\n", status, headers, content_type="application/json")


def _refused(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return _answer(status, {"error": {"type": kind, "message": message}}, headers)


def _failed(error: Exception) -> Response:
    match error:
        case Refusal():
            return _refused(error.status, error.kind, error.message, error.headers)
        case HTTPException():
            kind = error.name.lower().replace(" ", "_")
            return _refused(error.code or 500, kind, error.description or error.name)
        case SensorNotFound():
            return _refused(404, error.type, str(error))
        case StoreUnavailable() | RuntimeStopped():
            return _refused(503, error.type, "the store is not available", dict([AGAIN]))
        case ExecutionError() | ValidationError():
            return _refused(400, "no_message_id", "no message id could be made from the message")
        case PollError() | FlowstoneError():
            kind = error.code if isinstance(error, PollError) else error.type
            return _refused(500, kind, "the message could not be taken")
    log.exception("a push failed", exc_info=error)
    return _refused(500, "internal_error", "an unexpected error, told in the log")
