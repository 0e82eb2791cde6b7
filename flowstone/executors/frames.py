"""Frames: byte strings on a pipe, each after its length.

Descriptors are read and written as the operating system has them, by threads of its own: nothing here is patched.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable

from actors.raw import poll

__all__ = ["Closed", "read_frame", "write_frame"]

_LENGTH = struct.Struct("!Q")
_CHUNK = 1 << 20
_LOOK = 200
"""Milliseconds after which a reader looks whether its writer is still there."""


class Closed(Exception):
    """The other end of the pipe is gone."""


def write_frame(descriptor: int, *parts: bytes) -> None:
    """Write one frame made of these parts; blocks until the pipe took it.

    Raises:
        Closed: nobody reads any more.
    """
    try:
        for part in (_LENGTH.pack(sum(map(len, parts))), *parts):
            rest = memoryview(part)
            while rest:
                taken = os.write(descriptor, rest[:_CHUNK])
                rest = rest[taken:]
    except OSError as error:
        raise Closed(str(error)) from error


def read_frame(descriptor: int, gone: Callable[[], bool]) -> bytes:
    """The next frame; blocks until it is there. `gone` says whether the writer has ended, whoever else holds the pipe.

    Raises:
        Closed: no frame will come.
    """
    (length,) = _LENGTH.unpack(_read(descriptor, _LENGTH.size, gone))
    return bytes(_read(descriptor, length, gone))


def _read(descriptor: int, length: int, gone: Callable[[], bool]) -> bytearray:
    waiting = poll()
    waiting.register(descriptor, select.POLLIN)
    got = bytearray()
    while len(got) < length:
        last = gone()  # asked before: what was written until the end is read first
        if not waiting.poll(0 if last else _LOOK):
            if last:
                raise Closed("its writer has ended")
            continue
        chunk = os.read(descriptor, min(length - len(got), _CHUNK))
        if not chunk:
            raise Closed("the pipe was closed")
        got += chunk
    return got
