"""Values in the memory of this process, for tests and toys.

A value is kept as its pickle, so that whoever loads it gets a copy of their own, as from any other IO manager; one
that can't be pickled is kept as it is, other than a generator, which only the first reader would find full.
"""

import pickle
from dataclasses import dataclass
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from flowstone.errors import IOManagerError, ValueNotFound
from flowstone.io.base import IOContext, StoredValue, content_version
from flowstone.io.formats import refused
from flowstone.io.places import attempt_place

__all__ = ["MemoryIO"]


@dataclass(frozen=True, slots=True)
class _Unpicklable:
    value: Any


class MemoryIO:
    """Keeps values until the process ends or they are deleted.

    >>> memory, context = MemoryIO(), IOContext(asset="raw", run_id="run_a")
    >>> memory.load(context, memory.store(context, {"rows": 3}))
    {'rows': 3}
    """

    def __init__(self) -> None:
        self._kept: dict[str, bytes | _Unpicklable] = {}

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the value is.

        Raises:
            IOManagerError: it is a generator.
        """
        location = attempt_place(context)
        if isinstance(value, GeneratorType | AsyncGeneratorType):
            expected, advice = "a value that can be read more than once", "return a list of what it gives"
            raise refused(context.asset, expected, value, advice)
        try:
            content = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception:
            self._kept[location] = _Unpicklable(value)
            return StoredValue("memory", location, content_version(location.encode()))
        self._kept[location] = content
        return StoredValue("memory", location, content_version(content), len(content))

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The value that was stored there.

        Raises:
            ValueNotFound: there is none, as after a restart of the process.
            IOManagerError: its type can't be made again from its pickle.
        """
        kept = self._kept.get(stored.location)
        if kept is None:
            message = f"no value of {context.asset} at {stored.location} in the memory of this process"
            raise ValueNotFound(message, asset=context.asset)
        if isinstance(kept, _Unpicklable):
            return kept.value
        try:
            return pickle.loads(kept)
        except Exception as error:
            message = f"could not load {stored.location}: {type(error).__name__}: {error}"
            raise IOManagerError(message, retryable=False, location=stored.location) from error

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether a value is stored there."""
        return stored.location in self._kept

    def delete(self, stored: StoredValue) -> None:
        """Nothing is stored there afterwards."""
        self._kept.pop(stored.location, None)
