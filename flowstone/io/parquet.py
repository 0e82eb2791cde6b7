"""Tables in Parquet files: rows, columns or an Arrow table, each written atomically and readable by other tools.

pyarrow, the extra `parquet`, is loaded when a value is first stored or loaded.
"""

import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Literal

from flowstone.errors import IOManagerError, shown
from flowstone.io.base import IOContext, StoredValue, content_version
from flowstone.io.formats import choice, refused
from flowstone.io.places import PLACEMENTS
from flowstone.io.tree import FileTree

__all__ = ["ParquetIO"]

_FORM = b"flowstone.form"
_EXPECTED = "a table: a list of dicts with the same keys, a dict of lists of one length, or a pyarrow.Table"


class ParquetIO:
    """Stores tables in files below `root`; what was stored as rows comes back as rows.

    A value is a list of dicts with the same keys, a dict of lists of one length, or a `pyarrow.Table`, of types that
    Parquet has: a tuple comes back as a list, a dict within a row with the keys of all of them. A file that another
    tool wrote is loaded as a `pyarrow.Table`. `placement` is "attempt" or "stable", one known file a partition for
    readers outside.

    Raises:
        ValidationError: placement is none of these, or root is no path.

    >>> ParquetIO("/data/tables", placement="stable")
    ParquetIO('/data/tables', placement='stable')
    """

    def __init__(
        self, root: str | os.PathLike[str], *, placement: Literal["attempt", "stable"] = "attempt"
    ) -> None:
        self._tree = FileTree(root)
        self.placement = choice("placement", placement, PLACEMENTS)

    def __repr__(self) -> str:
        return f"ParquetIO({str(self.root)!r}, placement={self.placement!r})"

    @property
    def root(self) -> Path:
        """The folder of all tables."""
        return self._tree.root

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the table is, once it is synced to disk.

        Raises:
            IOManagerError: it is no table of types that Parquet has, or pyarrow is missing (neither is retryable), or
                the disk refused it.
        """
        location = f"{PLACEMENTS[self.placement](context)}.parquet"
        content = _written(context.asset, value)
        self._tree.write(context.asset, location, content)
        return StoredValue("parquet", location, content_version(content), len(content))

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The table that was stored there, in the form in which it was stored.

        Raises:
            ValueNotFound: there is no such file.
            IOManagerError: it can't be read, or is no Parquet file.
        """
        content = self._tree.read(context.asset, stored.location)
        arrow, parquet = _pyarrow()
        try:
            # Not `read_table`, which refuses columns that share a name.
            table = parquet.ParquetFile(arrow.BufferReader(content)).read()
        except (arrow.ArrowException, OSError) as error:
            message = f"could not load {self._tree.path(stored.location)}: {type(error).__name__}: {error}"
            raise IOManagerError(message, retryable=False, location=stored.location) from error
        return _as_stored(table)

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether a table is stored there.

        Raises:
            IOManagerError: the location lies outside the root.
        """
        return self._tree.exists(stored.location)

    def delete(self, stored: StoredValue) -> None:
        """This table is not stored there afterwards; one that took its stable place since then stays.

        Raises:
            IOManagerError: the file could not be deleted, or lies outside the root.
        """
        self._tree.delete(stored)


def _written(asset: str, value: Any) -> bytes:
    arrow, parquet = _pyarrow()
    form, table = _table(arrow, asset, value)
    sink = arrow.BufferOutputStream()
    try:
        metadata = {**(table.schema.metadata or {}), _FORM: form.encode()}
        parquet.write_table(table.replace_schema_metadata(metadata), sink)
    except arrow.ArrowException as error:
        raise refused(asset, _EXPECTED, value, error) from error
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(arrow: Any, asset: str, value: Any) -> tuple[str, Any]:
    """The form of a value, and the value as an Arrow table."""
    if isinstance(value, arrow.Table):
        return "table", value
    try:
        if isinstance(value, list) and not _differing(value):
            return "rows", arrow.Table.from_pylist(value)
        if isinstance(value, Mapping) and not _torn(value):
            return "columns", arrow.Table.from_pydict(dict(value))
    except (arrow.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise refused(asset, _EXPECTED, value, error) from error
    reason = _torn(value) if isinstance(value, Mapping) else "it has neither rows nor columns"
    raise refused(asset, _EXPECTED, value, _differing(value) if isinstance(value, list) else reason)


def _torn(columns: Mapping[Any, Any]) -> str:
    """What is wrong with columns; Arrow would take a text for a list of its characters, a dict for one of its keys."""
    for name, column in columns.items():
        if isinstance(column, str | bytes | bytearray | Mapping | Set):
            return f"column {shown(name)} is no list: {shown(column)}"
    return ""


def _differing(rows: list[Any]) -> str:
    """What is wrong with rows; Arrow would take the first one's keys for all, and lose the others."""
    keys = set(rows[0]) if rows and isinstance(rows[0], dict) else set()
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or not row:
            return f"row {place} is no dict with keys"
        if row.keys() != keys:
            return f"the keys of row {place} are others than those of row 0"
    return ""


def _as_stored(table: Any) -> Any:
    metadata = dict(table.schema.metadata or {})
    form = metadata.pop(_FORM, b"table")
    if form == b"rows":
        return table.to_pylist()
    if form == b"columns":
        return table.to_pydict()
    return table.replace_schema_metadata(metadata or None)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        message = "ParquetIO needs pyarrow: pip install 'flowstone[parquet]'"
        raise IOManagerError(message, retryable=False) from error
    return pyarrow, pyarrow.parquet
