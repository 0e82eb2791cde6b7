"""An object in a bucket, and how it is known again; pure."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from flowstone.core.partitions import Partition
from flowstone.sensors.sensor import Arrival

__all__ = ["Filter", "Found", "arrival_of", "day_or_key", "short"]

_DAY = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as a listing or a notification tells of it; `at` is an instant in seconds since 1970.

    `version` tells apart what has the same key, content and instant: a version id, a sequence number, a count.
    """

    bucket: str
    key: str
    etag: str
    size: int
    at: float
    version: str = ""

    @property
    def identity(self) -> str:
        """By which it is known again: another one for other content, and for a key that was put again."""
        told = f"{self.bucket}/{self.key}:{self.etag}:{self.at:.3f}"
        return f"{told}:{self.version}" if self.version else told


@dataclass(frozen=True, slots=True)
class Filter:
    """Which keys count: those with one of the suffixes, if any are given, that the pattern matches, if it is given."""

    suffixes: tuple[str, ...] = ()
    pattern: str | None = None

    def takes(self, key: str) -> bool:
        """Whether this key counts; the empty objects that stand for folders never do."""
        if key.endswith("/") or (self.suffixes and not key.endswith(self.suffixes)):
            return False
        return self.pattern is None or fnmatchcase(key, self.pattern)


def short(identity: str) -> str:
    """Twelve characters that stand for an identity; two of a few hundred never fall together."""
    return urlsafe_b64encode(hashlib.sha256(identity.encode("utf-8", "backslashreplace")).digest()[:9]).decode()


def day_or_key(key: str) -> str:
    """The first day in a key, else the whole key.

    >>> day_or_key("events/2025-01-20/batch1.parquet"), day_or_key("2025-99-99.csv")
    ('2025-01-20', '2025-99-99.csv')
    """
    for found in _DAY.findall(key):
        try:
            date.fromisoformat(found)
        except ValueError:
            continue
        return str(found)
    return key


def arrival_of(found: Found, partition: Callable[[str], Partition]) -> Arrival:
    """What the sensor answers for an object."""
    payload = {
        "bucket": found.bucket,
        "key": found.key,
        "size": found.size,
        "etag": found.etag,
        "last_modified": datetime.fromtimestamp(found.at, UTC).isoformat(),
    }
    if found.version:
        payload["version"] = found.version
    return Arrival(partition(found.key), key=found.identity, payload=payload)
