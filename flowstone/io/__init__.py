"""Where values are stored: one file an IO manager.

Those that need a driver are loaded when they are first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowstone.io.base import IOContext, IOManager, StoredValue
from flowstone.io.files import FilesIO
from flowstone.io.memory import MemoryIO

if TYPE_CHECKING:
    from flowstone.io.database import DatabaseIO
    from flowstone.io.parquet import ParquetIO
    from flowstone.io.s3 import S3IO

__all__ = ["S3IO", "DatabaseIO", "FilesIO", "IOContext", "IOManager", "MemoryIO", "ParquetIO", "StoredValue"]

_LAZY = {"DatabaseIO": "database", "ParquetIO": "parquet", "S3IO": "s3"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
