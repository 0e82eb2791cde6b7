"""Where values are stored: one file an IO manager."""

from flowstone.io.base import IOContext, IOManager, StoredValue
from flowstone.io.files import FilesIO
from flowstone.io.memory import MemoryIO

__all__ = ["FilesIO", "IOContext", "IOManager", "MemoryIO", "StoredValue"]
