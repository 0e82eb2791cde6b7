"""The sensor of an HTTP endpoint: asks it, and triggers when what it answers passes a check and is new."""

from __future__ import annotations

import codecs
import copy
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.durations import seconds
from flowstone.errors import ValidationError, did_you_mean, shown
from flowstone.sensors.builtin.webhook.fetching import Exchange, Fetched, fetch, new_session, retry_after
from flowstone.sensors.configuration import MASK, presentable
from flowstone.sensors.environment import expanded
from flowstone.sensors.sensor import Answer, Arrival, NoTrigger, PollError, Sensor, Trigger
from flowstone.sensors.surroundings import ALONE, Surroundings

__all__ = ["Webhook"]

METHODS = ("GET", "HEAD", "POST", "PUT")
PARSES = ("auto", "json", "text")
LARGEST_SHOWN = 32_768
"""Bytes of a body that travel with the arrival as its payload."""

_HARMLESS = {"accept", "accept-language", "content-type", "user-agent"}


@checked_keywords
class Webhook(Sensor):
    """Asks an HTTP endpoint, and triggers for each answer that passes the check and is not the last that triggered.

    - `url`: http or https; `method` ("GET"); `headers`: a mapping or pairs; `json` or `data` (None): what is sent.
      In all of them `${NAME}` stands for a variable of the environment, read when it is used and never shown
    - `check` (None): a function of the body; every 2xx passes without one
    - `partition` (None): a function of the body; the default is the date of the poll, in UTC
    - `parse` ("auto"): the body is JSON where the answer says so or looks so, else text; "json" or "text" insist
    - `timeout` ("30s"): for the whole exchange; `max_bytes` (1,000,000) of the body; `max_redirects` (5)
    - `verify` (True), `cert` (None): TLS, as of requests
    - `private` (True): False refuses addresses that are not public, wherever a name or a redirect leads
    - `session` (None): a session of requests of your own

    What the endpoint calls unchanged (ETag, Last-Modified) is not sent again. Another status than 2xx is the error
    `http_status:` with its number, and a `Retry-After` is obeyed. The payload is `status` and, up to 32 kB, `body`.

    Raises:
        ValidationError: an unknown keyword, or a bad option.
    """

    def __init__(
        self,
        *,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        json: Any = None,
        data: str | None = None,
        check: Callable[[Any], Any] | None = None,
        partition: Callable[[Any], Partition] | None = None,
        parse: str = "auto",
        timeout: object = "30s",
        max_bytes: int = 1_000_000,
        max_redirects: int = 5,
        verify: bool | str = True,
        cert: Any = None,
        private: bool = True,
        session: Any = None,
    ) -> None:
        _check(url, "url", "an http(s) URL", _is_url(url))
        _choose(method, "method", METHODS)
        _choose(parse, "parse", PARSES)
        for option, function in (("check", check), ("partition", partition)):
            _check(function, option, "callable", function is None or callable(function))
        _check(data, "data", "a text, and json not given", data is None or _is_text(data) and json is None)
        legal = private in (True, False) and (bool(private) or session is None)
        _check(private, "private", "True or False; a session of your own decides itself", legal)
        self._given_headers = _pairs(headers)
        self.headers = {name: _shown_header(name, value) for name, value in self._given_headers.items()}
        self.url, self.method, self._body, self._sent = url, method, data, json
        self.check, self.partition, self.parse = check, partition, parse
        self.timeout = seconds(timeout, "timeout", minimum=0.001)
        self.max_bytes = _count(max_bytes, "max_bytes", 1)
        self.max_redirects = _count(max_redirects, "max_redirects", 0)
        self.verify, self._cert, self.private, self.session = verify, cert, private, session
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._around: Surroundings = ALONE

    def within(self, surroundings: Surroundings) -> Webhook:
        """This sensor, on the runtime's time."""
        copied = copy.copy(self)
        copied._around = surroundings
        return copied

    def init(self) -> dict[str, Any]:
        """The state before the first poll."""
        return {"of": self._of, "etag": None, "modified": None, "triggered": None}

    def poll(self, state: dict[str, Any]) -> Answer:
        """What the endpoint answers now.

        Raises:
            PollError: it can't be reached, or answers another status than 2xx.
        """
        if state.get("of") != self._of:
            state = self.init()
        fetched = self._fetched(state)
        if fetched.status == 304:
            return NoTrigger(reason="not modified")
        self._refuse_status(fetched)
        digest = hashlib.sha256(fetched.body).hexdigest()
        following = {**state, "etag": fetched.headers.get("ETag"), "modified": fetched.headers.get("Last-Modified")}
        if digest == state["triggered"]:
            return NoTrigger(state=following, reason="the body equals the last one that triggered")
        body = self._parsed(fetched)
        if self.check is not None and not self.check(body):
            return NoTrigger(state=following, reason="the check does not hold")
        partition = self._around.now().date() if self.partition is None else self.partition(body)
        payload = {"status": fetched.status, "body": body if len(fetched.body) <= LARGEST_SHOWN else None}
        return Trigger(Arrival(partition, payload=payload), state={**following, "triggered": digest})

    @property
    def _of(self) -> str:
        return hashlib.sha256(f"{self.method} {self.url}".encode()).hexdigest()[:16]

    def _fetched(self, state: Mapping[str, Any]) -> Fetched:
        headers = {name: expanded(value) for name, value in self._given_headers.items()}
        for name, known in (("If-None-Match", state["etag"]), ("If-Modified-Since", state["modified"])):
            if known is not None:
                headers.setdefault(name, known)
        body: dict[str, Any] = {} if self._sent is None else {"json": expanded(self._sent)}
        if self._body is not None:
            body = {"data": expanded(self._body).encode()}
        exchange = Exchange(
            method=self.method,
            url=expanded(self.url),
            shown=_shown_url(self.url),
            headers=headers,
            body=body,
            timeout=self.timeout,
            max_bytes=self.max_bytes,
            max_redirects=self.max_redirects,
            tls={} if self.session is not None else {"verify": self.verify, "cert": self._cert},
        )
        return fetch(self._session(), exchange, guarded=self.session is None)

    def _session(self) -> Any:
        if self.session is not None:
            return self.session
        with self._lock:
            if "own" not in self._sessions:
                self._sessions["own"] = new_session(public_only=not self.private)
            return self._sessions["own"]

    def _refuse_status(self, fetched: Fetched) -> None:
        if not 200 <= fetched.status < 300:
            wait = retry_after(fetched.headers.get("Retry-After"), self._around.now())
            text = f"{_shown_url(self.url)} answers {fetched.status}"
            raise PollError(text, code=f"http_status:{fetched.status}", retry_after=wait)

    def _parsed(self, fetched: Fetched) -> Any:
        says = "json" in fetched.headers.get("Content-Type", "").lower()
        looks = fetched.body.lstrip()[:1] in (b"{", b"[")
        if self.parse == "json" or self.parse == "auto" and (says or looks):
            try:
                return json.loads(fetched.body)
            except (ValueError, RecursionError):
                if self.parse == "json" or says:
                    text = f"{_shown_url(self.url)} answers what is no JSON"
                    raise PollError(text, code="bad_json") from None
        return fetched.body.decode(_legal(fetched.encoding), "replace")


def _legal(encoding: str | None) -> str:
    try:
        return codecs.lookup(encoding or "utf-8").name
    except LookupError:
        return "utf-8"


def _pairs(headers: Any) -> dict[str, str]:
    try:
        pairs = dict(headers)
    except (TypeError, ValueError):
        pairs = {"": ""}
    legal = all(isinstance(one, str) and one and one.isprintable() for pair in pairs.items() for one in pair)
    _check(list(pairs), "headers", "a mapping or pairs of texts", legal)
    return pairs


def _shown_header(name: str, value: str) -> str:
    return value if name.lower() in _HARMLESS or value.startswith("${") and value.endswith("}") else MASK


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_url(url: object) -> bool:
    if not isinstance(url, str) or not url.isprintable():
        return False
    try:
        return urlsplit(url).scheme in {"http", "https"} and bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _shown_url(url: str) -> str:
    """A URL without user, password, query and fragment: none of them is for logs."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return str(presentable(f"{parts.scheme}://{place}{parts.path}"))


def _check(value: object, option: str, expected: str, legal: bool) -> None:
    if not legal:
        told = MASK if option in {"data", "url"} else shown(value)
        raise ValidationError(f"expected {option} to be {expected}, got: {told}", option=option)


def _choose(value: object, option: str, legal: tuple[str, ...]) -> None:
    hint = "" if value in legal else did_you_mean(str(value), legal)
    _check(value, option, f"one of {', '.join(legal)}{hint}", value in legal)


def _count(value: Any, option: str, least: int) -> int:
    legal = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _check(value, option, f"an int of at least {least}", legal)
    return int(value)
