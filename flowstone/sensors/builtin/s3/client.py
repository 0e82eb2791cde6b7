"""What talks to S3 and SQS: boto3, loaded when first used; and what its errors mean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from flowstone.sensors.builtin.s3.objects import Found
from flowstone.sensors.configuration import presentable
from flowstone.sensors.sensor import PollError

__all__ = ["Connections", "Listed", "listed", "meaning"]

THROTTLED = {
    "503", "BandwidthLimitExceeded", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "SlowDown", "Throttling", "ThrottlingException",
    "TooManyRequestsException", "OverLimit",
}  # fmt: skip
REFUSED = {
    "403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "ExpiredToken", "InvalidAccessKeyId",
    "InvalidClientTokenId", "InvalidToken", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
MISSING = {"404", "AWS.SimpleQueueService.NonExistentQueue", "NoSuchBucket", "QueueDoesNotExist"}
NO_CREDENTIALS = {"CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}

UNREACHABLE = {"ConnectionError", "HTTPClientError", "ResponseParserError", "ResponseStreamingError"}

_CONNECT = 10.0
_READ = 30.0
_ATTEMPTS = 3


class Connections:
    """One client for each service, made when first used, and used by any number of threads.

    `session` are arguments of `boto3.Session`; clients that the user gave come first.
    """

    def __init__(self, session: Mapping[str, Any], endpoint_url: str | None, given: Mapping[str, Any]) -> None:
        self._session = {name: value for name, value in session.items() if value is not None}
        self._endpoint_url = endpoint_url
        self._clients = {service: client for service, client in given.items() if client is not None}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """The client of a service, `s3` or `sqs`."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def _made(self, service: str) -> Any:
        import boto3
        from botocore.config import Config

        retries = {"mode": "standard", "max_attempts": _ATTEMPTS}
        config = Config(retries=retries, connect_timeout=_CONNECT, read_timeout=_READ)
        session = boto3.Session(**self._session)
        parsers = session._session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=_instant)
        return session.client(service, endpoint_url=self._endpoint_url, config=config)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a listing: its objects by key, the service's own time where it tells, whether more pages follow."""

    objects: tuple[Found, ...]
    now: float | None
    more: bool


def listed(client: Any, bucket: str, prefix: str, after: str) -> Iterator[Listed]:
    """The pages of what is under a prefix, past the key `after`; each is asked for when it is taken."""
    where = {"Bucket": bucket, "Prefix": prefix}
    position = {"StartAfter": after} if after else {}
    while True:
        page = client.list_objects_v2(**where, **position)
        if "ResponseMetadata" in page and not {"Contents", "IsTruncated"} & page.keys():
            # Headers that were cut look like the headers of an empty answer, which is no empty listing.
            raise PollError(f"bucket {bucket!r}: the answer was cut", code="network_error")
        more = bool(page.get("IsTruncated"))
        yield Listed(tuple(_found(bucket, told) for told in page.get("Contents", ())), _time_of(page), more)
        if not more:
            return
        position = {"ContinuationToken": page["NextContinuationToken"]}


def meaning(call: Callable[[], Any], what: str) -> Any:
    """What a call gives.

    Raises:
        PollError: it failed in a way that has a name: `no_such_bucket`, `access_denied`, `throttled`,
            `no_credentials`, `network_error`, or `s3_error:` with the service's own code.
    """
    try:
        return call()
    except Exception as error:
        known = _known(error, what)
        if known is None:
            raise
        raise known from error


def _known(error: Exception, what: str) -> PollError | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = presentable(str(error))
    if "ClientError" in names:
        return _refusal(error, what, text)
    if names & NO_CREDENTIALS:
        return PollError(f"{what}: {text}", code="no_credentials")
    if names & {"ProfileNotFound", "NoRegionError", "InvalidConfigError", "ConfigNotFound"}:
        return PollError(f"{what}: {text}", code="bad_configuration")
    if names & UNREACHABLE or isinstance(error, OSError):
        return PollError(f"{what}: {text}", code="network_error")
    return None


def _refusal(error: Any, what: str, text: str) -> PollError:
    response: Mapping[str, Any] = getattr(error, "response", {})
    code = str(response.get("Error", {}).get("Code", "Unknown"))
    status = str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    if code in MISSING:
        return PollError(f"{what} does not exist", code="no_such_queue" if "ueue" in code else "no_such_bucket")
    if code in THROTTLED or status in {"429", "503"}:
        return PollError(f"{what} asks to be asked less often: {text}", code="throttled")
    if code in REFUSED or status == "403":
        return PollError(f"{what} refuses access: {text}", code="access_denied")
    return PollError(f"{what}: {text}", code=f"s3_error:{code}")


def _instant(value: Any) -> Any:
    """An instant as S3 writes it. The parser of botocore takes 80 µs for each, most of the time of a listing."""
    from botocore.utils import parse_timestamp

    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)


def _found(bucket: str, told: Mapping[str, Any]) -> Found:
    at: datetime = told["LastModified"]
    etag = str(told.get("ETag", "")).strip('"')
    return Found(bucket, told["Key"], etag, int(told.get("Size", 0)), at.timestamp())


def _time_of(page: Mapping[str, Any]) -> float | None:
    headers = page.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
