"""One exchange over HTTP, limited in time, size and redirects; and what its errors mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from flowstone.sensors.sensor import PollError

__all__ = ["Exchange", "Fetched", "fetch", "new_session", "retry_after"]

REDIRECTS = {301, 302, 303, 307, 308}
_CHUNK = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What is asked, and how much it may take; `shown` is what people see of the URL, `timeout` is in seconds."""

    method: str
    url: str
    shown: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    timeout: float
    max_bytes: int
    max_redirects: int
    tls: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    encoding: str | None


def new_session(*, public_only: bool) -> Any:
    """A session whose exchanges `fetch` can end in time."""
    import requests

    from flowstone.sensors.builtin.webhook.guard import GuardedAdapter

    session = requests.Session()
    session.mount("http://", GuardedAdapter(public_only=public_only))
    session.mount("https://", GuardedAdapter(public_only=public_only))
    # A proxy would connect in our place, to wherever the name leads it.
    session.trust_env = not public_only
    return session


def fetch(session: Any, exchange: Exchange, *, guarded: bool) -> Fetched:
    """What the endpoint answers; `guarded` tells that the session is one of `new_session`.

    Raises:
        PollError: `timeout`, `network_error`, `tls_error`, `private_address`, `too_large`, `too_many_redirects`,
            `bad_redirect`.
    """
    import requests

    limit = _deadline(exchange.timeout) if guarded else nullcontext()
    try:
        with limit:
            fetched = _followed(session, exchange, time.monotonic() + exchange.timeout)
    except PollError:
        raise
    # Without their causes, whose texts hold URLs with all that they carry.
    except requests.exceptions.SSLError:
        raise PollError(f"{exchange.shown}: the certificate or the handshake is refused", code="tls_error") from None
    except (requests.exceptions.RequestException, OSError) as error:
        late = getattr(limit, "passed", False) or isinstance(error, requests.exceptions.Timeout)
        raise (_late(exchange) if late else _unreachable(exchange, error)) from None
    if getattr(limit, "passed", False):
        # A connection that is shut down may look like an answer that ended.
        raise _late(exchange)
    return fetched


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for, given as such or as an instant; None for what is neither."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _deadline(seconds: float) -> AbstractContextManager[Any]:
    from flowstone.sensors.builtin.webhook.guard import Deadline

    return Deadline(seconds)


def _followed(session: Any, exchange: Exchange, until: float) -> Fetched:
    """The answer at the end of the redirects; headers of ours go no further than the server they are for."""
    method, url, headers, body = exchange.method, exchange.url, dict(exchange.headers), dict(exchange.body)
    for _ in range(exchange.max_redirects + 1):
        wait = max(0.001, until - time.monotonic())
        options = {"headers": headers, "timeout": wait, "allow_redirects": False, "stream": True, **exchange.tls}
        response = session.request(method, url, **options, **body)
        try:
            target = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not target:
                content = _read(response, exchange, until)
                return Fetched(response.status_code, response.headers, content, response.encoding)
        finally:
            response.close()
        following = _target(exchange, url, target)
        if urlsplit(following)[:2] != urlsplit(url)[:2]:
            headers = {}
        if response.status_code == 303 or response.status_code in {301, 302} and method == "POST":
            method, body = "GET", {}
        url = following
    raise PollError(f"{exchange.shown}: more than {exchange.max_redirects} redirects", code="too_many_redirects")


def _target(exchange: Exchange, url: str, location: str) -> str:
    target = urljoin(url, location)
    if urlsplit(target).scheme not in {"http", "https"} or not urlsplit(target).hostname:
        raise PollError(f"{exchange.shown}: is redirected to what is no http(s) URL", code="bad_redirect")
    return target


def _read(response: Any, exchange: Exchange, until: float) -> bytes:
    content = bytearray()
    for chunk in response.iter_content(_CHUNK):
        content += chunk
        if len(content) > exchange.max_bytes:
            raise PollError(f"{exchange.shown}: answers more than {exchange.max_bytes} bytes", code="too_large")
        if time.monotonic() > until:
            raise _late(exchange)
    return bytes(content)


def _late(exchange: Exchange) -> PollError:
    return PollError(f"{exchange.shown}: no answer within {exchange.timeout:g} s", code="timeout")


def _unreachable(exchange: Exchange, error: Exception) -> PollError:
    chain: list[Any] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any(type(one).__name__ == "PrivateAddress" for one in chain):
        return PollError(f"{exchange.shown}: leads to a private address", code="private_address")
    known = [one.strerror for one in chain if isinstance(one, OSError) and one.strerror]
    return PollError(f"{exchange.shown}: {known[-1] if known else type(error).__name__}", code="network_error")
