"""Values in a bucket of S3 or of a service that speaks its API: an object is there whole or not at all.

boto3 is loaded when a value is first stored or loaded. A bucket is written by many, so that values are JSON unless
pickle is asked for, and pickles are read by who asked for them only.
"""

from typing import Any, Literal

from actors.raw import Lock
from flowstone.errors import IOManagerError, ValidationError, ValueNotFound, shown
from flowstone.io.base import IOContext, StoredValue, content_version
from flowstone.io.formats import FORMATS, choice
from flowstone.io.places import PLACEMENTS, STABLE_NAME, parts_of

__all__ = ["S3IO"]

LONGEST_PREFIX = 500
"""Bytes of a prefix; S3 takes 1,024 for a whole key."""

_VERSION = "flowstone-data-version"
_GONE = frozenset({"404", "NoSuchKey", "NotFound"})
_FINAL = {
    "NoSuchBucket": "there is no such bucket",
    "403": "access is denied",
    "AccessDenied": "access is denied",
    "InvalidAccessKeyId": "the access key is unknown",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "NoCredentialsError": "no credentials were found",
}


class S3IO:
    """Stores values as objects of `bucket`, with keys below `prefix`.

    `format` is "json" (what JSON has: a tuple comes back as a list, and keys are texts) or "pickle" (any picklable
    value; whoever may write to the bucket can then run code here). `placement` is "attempt" or "stable", one known key
    a partition for readers outside. `endpoint_url` names another service than Amazon's; `client` is a client of boto3
    to use in place of one that is made from the environment.

    Raises:
        ValidationError: an option is none of these.

    >>> S3IO("data", prefix="values", placement="stable")
    S3IO('data', prefix='values/', format='json', placement='stable')
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        client: Any = None,
        format: Literal["json", "pickle"] = "json",
        placement: Literal["attempt", "stable"] = "attempt",
    ) -> None:
        self.bucket = _bucket(bucket)
        self.prefix = _prefix(prefix)
        self.format = choice("format", format, FORMATS)
        self.placement = choice("placement", placement, PLACEMENTS)
        self._endpoint_url = endpoint_url
        self._given = client
        self._lock = Lock()

    def __repr__(self) -> str:
        options = f"prefix={self.prefix!r}, format={self.format!r}, placement={self.placement!r}"
        return f"S3IO({self.bucket!r}, {options})"

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the value is, once the service has acknowledged it.

        Raises:
            IOManagerError: it is not of the format, there is no such bucket or no access (none of these is retryable),
                or the service can't be reached.
        """
        location = f"{PLACEMENTS[self.placement](context)}.{self.format}"
        content = FORMATS[self.format].content(context.asset, value)
        version = content_version(content)
        self._call("put_object", location, Body=content, Metadata={_VERSION: version})
        return StoredValue("s3", location, version, len(content))

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The value that was stored there.

        Raises:
            ValueNotFound: there is no such object.
            IOManagerError: it can't be read, its content is no value, or it is a pickle and nobody asked for those.
        """
        written = stored.location.rpartition(".")[2]
        if written == "pickle" and self.format != "pickle":
            advice = "give format='pickle' when all who may write to the bucket are trusted"
            raise IOManagerError(f"{self._shown(stored.location)} is a pickle; {advice}", retryable=False)
        found = self._call("get_object", stored.location)
        if found is None:
            message = f"no value of {context.asset} at {self._shown(stored.location)}; materialize it again"
            raise ValueNotFound(message, asset=context.asset)
        content = self._guarded(stored.location, "get_object", found["Body"].read)
        return FORMATS.get(written, FORMATS[self.format]).value(self._shown(stored.location), content)

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether an object is stored there.

        Raises:
            IOManagerError: there is no access, or the service can't be reached.
        """
        return self._call("head_object", stored.location) is not None

    def delete(self, stored: StoredValue) -> None:
        """This value is not stored there afterwards; one that took its stable place since then stays.

        Raises:
            IOManagerError: there is no access, or the service can't be reached.
        """
        name = stored.location.rpartition("/")[2]
        if name.partition(".")[0] == STABLE_NAME:
            found = self._call("head_object", stored.location)
            if found is None or found["Metadata"].get(_VERSION) != stored.data_version:
                return
        self._call("delete_object", stored.location)

    def _call(self, operation: str, location: str, **arguments: Any) -> Any:
        """The service's answer; None when there is no such object."""
        key = self.prefix + "/".join(parts_of(location))
        return self._guarded(
            location, operation, lambda: getattr(self._client(), operation)(Bucket=self.bucket, Key=key, **arguments)
        )

    def _guarded(self, location: str, operation: str, call: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _GONE and operation != "put_object":
                return None
            raise self._failed(location, operation, code, error) from error
        except (BotoCoreError, OSError) as error:
            raise self._failed(location, operation, type(error).__name__, error) from error

    def _failed(self, location: str, operation: str, code: str, error: Exception) -> IOManagerError:
        reason = _FINAL.get(code)
        told = f"{reason} ({error})" if reason else str(error)
        message = f"{operation} of {self._shown(location)} failed: {told}"
        return IOManagerError(message, retryable=reason is None, bucket=self.bucket, location=location)

    def _client(self) -> Any:
        with self._lock:  # making a client is not safe beside another thread that makes one, using it is
            if self._given is None:
                import boto3

                self._given = boto3.session.Session().client("s3", endpoint_url=self._endpoint_url)
            return self._given

    def _shown(self, location: str) -> str:
        return f"s3://{self.bucket}/{self.prefix}{location}"


def _bucket(given: object) -> str:
    if not isinstance(given, str) or not given:
        raise ValidationError(f"expected bucket to be the name of a bucket, got: {shown(given)}")
    return given


def _prefix(given: object) -> str:
    if not isinstance(given, str) or len(given.encode(errors="replace")) > LONGEST_PREFIX:
        limit = f"text of at most {LONGEST_PREFIX} bytes"
        raise ValidationError(f"expected prefix to be {limit}, got: {shown(given)}")
    return given if not given or given.endswith("/") else f"{given}/"
