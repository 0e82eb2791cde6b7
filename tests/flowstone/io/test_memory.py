"""Values in memory, beyond the contract."""

import threading

import pytest

from flowstone.errors import IOManagerError, ValueNotFound
from flowstone.io import IOContext, MemoryIO

CONTEXT = IOContext(asset="raw", run_id="run_a")


class Unloadable(Exception):
    """Pickles, but its pickle can't make it again."""

    def __init__(self, code: int, text: str) -> None:  # noqa: B042 (what is tested)
        super().__init__(text)
        self.code = code


def test_what_cannot_be_pickled_is_kept_as_it_is() -> None:
    memory, lock = MemoryIO(), threading.Lock()
    stored = memory.store(CONTEXT, lock)
    assert memory.load(CONTEXT, stored) is lock
    assert stored.bytes is None


def test_what_its_pickle_cannot_make_again_is_an_error_of_ours() -> None:
    memory = MemoryIO()
    stored = memory.store(CONTEXT, Unloadable(3, "x"))
    with pytest.raises(IOManagerError) as refused:
        memory.load(CONTEXT, stored)
    assert not refused.value.retryable
    assert refused.value.__cause__ is not None


def test_another_memory_holds_nothing() -> None:
    stored = MemoryIO().store(CONTEXT, 1)
    with pytest.raises(ValueNotFound, match="memory of this process"):
        MemoryIO().load(CONTEXT, stored)
