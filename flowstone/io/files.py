"""Values in files: one folder an asset, one below it a partition, each value written atomically.

With placement `attempt` each attempt has a file of its own, and the row of the success says which one counts. With
`stable` there is one known file for each partition, replaced atomically, for readers outside.
"""

import os
from pathlib import Path
from typing import Any, Literal

from flowstone.io.base import IOContext, StoredValue, content_version
from flowstone.io.formats import FORMATS, choice
from flowstone.io.places import PLACEMENTS
from flowstone.io.tree import FileTree

__all__ = ["FilesIO"]


class FilesIO:
    """Stores values in files below `root`, which is made when it is first needed.

    `format` is "pickle" (any picklable value; load only files that you trust) or "json" (what JSON has: a tuple comes
    back as a list, and keys are texts). `placement` is "attempt" or "stable". A location is a path relative to the
    root, so the root may move.

    Raises:
        ValidationError: format or placement is none of these, or root is no path.

    >>> import tempfile
    >>> files, context = FilesIO(tempfile.mkdtemp(), format="json"), IOContext(asset="raw", run_id="run_a")
    >>> stored = files.store(context, {"rows": 3})
    >>> stored.location, files.load(context, stored)
    ('raw/~none/run_a.1.0.json', {'rows': 3})
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        format: Literal["pickle", "json"] = "pickle",
        placement: Literal["attempt", "stable"] = "attempt",
    ) -> None:
        self._tree = FileTree(root)
        self.format = choice("format", format, FORMATS)
        self.placement = choice("placement", placement, PLACEMENTS)

    def __repr__(self) -> str:
        return f"FilesIO({str(self.root)!r}, format={self.format!r}, placement={self.placement!r})"

    @property
    def root(self) -> Path:
        """The folder of all values."""
        return self._tree.root

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the value is, once it is synced to disk.

        Raises:
            IOManagerError: it is not of the format (not retryable), or the disk refused it.
        """
        location = f"{PLACEMENTS[self.placement](context)}.{self.format}"
        content = FORMATS[self.format].content(context.asset, value)
        self._tree.write(context.asset, location, content)
        return StoredValue("files", location, content_version(content), len(content))

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The value that was stored there.

        Raises:
            ValueNotFound: there is no such file.
            IOManagerError: it can't be read, or its content is no value of its format.
        """
        content = self._tree.read(context.asset, stored.location)
        written = FORMATS.get(stored.location.rpartition(".")[2], FORMATS[self.format])
        return written.value(self._tree.path(stored.location), content)

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether a value is stored there.

        Raises:
            IOManagerError: the location lies outside the root.
        """
        return self._tree.exists(stored.location)

    def delete(self, stored: StoredValue) -> None:
        """This value is not stored there afterwards; one that took its stable place since then stays.

        Raises:
            IOManagerError: the file could not be deleted, or lies outside the root.
        """
        self._tree.delete(stored)
