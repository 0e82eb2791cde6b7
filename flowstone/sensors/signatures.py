"""How a message that comes over HTTP shows who sent it: signatures and tokens, compared in constant time.

Secrets may be given as `${NAME}`, a variable of the environment, read when it is used; or several, while one takes the
place of another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, overload

from flowstone.core.keywords import checked_keywords
from flowstone.durations import seconds
from flowstone.errors import ValidationError
from flowstone.sensors.environment import expanded

__all__ = ["Auth", "GitHubSignature", "StripeSignature", "Token"]


class Headers(Protocol):
    """Headers of a request, looked up whatever their case."""

    @overload
    def get(self, name: str, /) -> str | None:
        """The header's value, or None."""

    @overload
    def get(self, name: str, default: str, /) -> str:
        """The header's value, or the default."""


class Auth(Protocol):
    """Checks a request."""

    def refusal(self, headers: Headers, body: bytes, now: datetime) -> str | None:
        """Why the request is not from whom it should be, in words that tell no secret; None when it is.

        `body` is as it was sent.
        """


class _Secrets:
    """One secret or several, any of which will do."""

    def __init__(self, secret: str | Iterable[str], option: str) -> None:
        given: object = (secret,) if isinstance(secret, str) else tuple(secret)
        if not isinstance(given, tuple) or not given or not all(isinstance(one, str) and one for one in given):
            raise ValidationError(f"expected {option} to be a text that is not empty, or several", option=option)
        self._given: tuple[str, ...] = given

    def any_signs(self, signed: bytes, signatures: Iterable[str]) -> bool:
        """Whether one of the signatures is that of one of the secrets; all are compared."""
        given = [signature.encode("utf-8", "replace") for signature in signatures]
        made = [hmac.new(secret, signed, hashlib.sha256).hexdigest().encode() for secret in self.values()]
        return any([hmac.compare_digest(one, other) for one in made for other in given])

    def has(self, value: str) -> bool:
        """Whether the value is one of the secrets; all are compared."""
        return any([hmac.compare_digest(secret, value.encode("utf-8", "replace")) for secret in self.values()])

    def values(self) -> list[bytes]:
        """The secrets as they are now.

        Raises:
            PollError: a variable of the environment is not set.
        """
        return [str(expanded(secret)).encode() for secret in self._given]


@checked_keywords
class GitHubSignature:
    """`X-Hub-Signature-256: sha256=…`, of the body, as GitHub sends it.

    The signature holds no time: a message that is sent again is known by its id alone, so give the sensor a
    `message_id` that is a function of the body where others may read what is sent.

    Raises:
        ValidationError: the secret is empty.
    """

    def __init__(self, secret: str | Iterable[str], *, header: str = "X-Hub-Signature-256") -> None:
        self._secrets = _Secrets(secret, "secret")
        self._header = header

    def refusal(self, headers: Headers, body: bytes, now: datetime) -> str | None:
        """Why the signature is refused; None when it is right."""
        kind, _, signature = headers.get(self._header, "").partition("=")
        if kind != "sha256" or not signature:
            return f"expected a header {self._header} like sha256=…"
        return None if self._secrets.any_signs(body, [signature]) else "the signature is not that of this body"


@checked_keywords
class StripeSignature:
    """`Stripe-Signature: t=…,v1=…`, of the time and the body, as Stripe sends it; the time may be off by `tolerance`.

    Raises:
        ValidationError: the secret is empty, or the tolerance is no duration.
    """

    def __init__(
        self, secret: str | Iterable[str], *, header: str = "Stripe-Signature", tolerance: object = "5m"
    ) -> None:
        self._secrets = _Secrets(secret, "secret")
        self._header = header
        self._tolerance = seconds(tolerance, "tolerance")

    def refusal(self, headers: Headers, body: bytes, now: datetime) -> str | None:
        """Why the signature or its time is refused; None when both are right."""
        pairs = [part.strip().partition("=") for part in headers.get(self._header, "").split(",")]
        times = [value for name, _, value in pairs if name == "t"]
        signatures = [value for name, _, value in pairs if name == "v1"]
        if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) < 16) or not signatures:
            return f"expected a header {self._header} like t=…,v1=…"
        if not self._secrets.any_signs(times[0].encode() + b"." + body, signatures):
            return "the signature is not that of this time and body"
        if abs(now.timestamp() - int(times[0])) > self._tolerance:
            return "the time of the signature is too far from ours"
        return None


@checked_keywords
class Token:
    """A plain token in a header: `Authorization: Bearer …` by default, or alone in any other header.

    Raises:
        ValidationError: the token is empty.
    """

    def __init__(self, token: str | Iterable[str], *, header: str = "Authorization") -> None:
        self._secrets = _Secrets(token, "token")
        self._header = header

    def refusal(self, headers: Headers, body: bytes, now: datetime) -> str | None:
        """Why the token is refused; None when it is right."""
        value = headers.get(self._header, "")
        if self._header.lower() == "authorization":
            scheme, _, value = value.partition(" ")
            if scheme.lower() != "bearer":
                return f"expected a header {self._header} like Bearer …"
        return None if value and self._secrets.has(value.strip()) else "the token is not the right one"
