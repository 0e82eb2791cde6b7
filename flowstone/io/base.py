"""What an IO manager does, and the values that go in and out of it."""

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from flowstone.core.partitions import Partition, encode_partition

__all__ = ["IOContext", "IOManager", "StoredValue", "content_version"]


@dataclass(frozen=True, slots=True)
class StoredValue:
    """Where a value is stored, as JSON can hold it.

    `manager` is the kind of IO manager that wrote it, `location` is known to that one only, `data_version` changes
    when the value does, `bytes` is its size where that is known.
    """

    manager: str
    location: str
    data_version: str
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IOContext:
    """For which asset, partition and attempt of which run a value is stored or loaded.

    `fence` rises with each lease of a run, so that (run, attempt, fence) is one attempt and no other. `stored` is
    the value that the row of an earlier success names, if there is one.
    """

    asset: str
    partition: Partition = None
    run_id: str = ""
    attempt: int = 1
    fence: int = 0
    stored: StoredValue | None = None

    @property
    def encoded_partition(self) -> str:
        """The stored form of the partition.

        Raises:
            PartitionError: the partition is not legal.
        """
        return encode_partition(self.partition)


@runtime_checkable
class IOManager(Protocol):
    """Stores and loads values. Its calls come from several threads at once, never from an actor."""

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the value is, once it is there for good. `None` is a value.

        Raises:
            IOManagerError: it could not be stored; nothing half written is left.
        """

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The value that was stored there.

        Raises:
            ValueNotFound: there is none; `None` is a value.
            IOManagerError: it could not be read.
        """

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether a value is stored there."""

    def delete(self, stored: StoredValue) -> None:
        """Nothing is stored there afterwards, whether or not something was.

        Raises:
            IOManagerError: it could not be deleted.
        """


def content_version(content: bytes) -> str:
    """A data version: the same for the same content, and another one for any other.

    >>> content_version(b"value")
    'cd42404d52ad55ccfa9aca4adc828aa5'
    """
    return hashlib.sha256(content).hexdigest()[:32]
