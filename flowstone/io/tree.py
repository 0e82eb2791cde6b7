"""A folder in which values have places: written atomically, found again, and never outside of it."""

import os
from pathlib import Path

from flowstone.errors import IOManagerError, ValidationError, ValueNotFound, shown
from flowstone.io import atomic
from flowstone.io.base import StoredValue, content_version
from flowstone.io.places import STABLE_NAME, parts_of

__all__ = ["FileTree"]

_PARTS = ".parts"


class FileTree:
    """Files below `root`, which is made when it is first needed; a relative root is that of the time of definition.

    Raises:
        ValidationError: root is no path.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = _folder(root)
        self._swept = False

    def write(self, asset: str, location: str, content: bytes) -> None:
        """The file holds this content afterwards, synced to disk.

        Raises:
            IOManagerError: the disk refused it.
        """
        try:
            if not self._swept:
                self._swept = True
                atomic.sweep(self.root / _PARTS)
            atomic.write(self.root / location, content, parts=self.root / _PARTS)
        except OSError as error:
            message = f"could not store {asset} at {location} below {self.root}: {error}"
            raise IOManagerError(message, location=location) from error

    def read(self, asset: str, location: str) -> bytes:
        """The content of a file.

        Raises:
            ValueNotFound: there is no such file.
            IOManagerError: it can't be read, or lies outside the root.
        """
        path = self.path(location)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ValueNotFound(f"no value of {asset} at {path}; materialize it again", asset=asset) from None
        except OSError as error:
            raise IOManagerError(f"could not load {asset} from {path}: {error}") from error

    def exists(self, location: str) -> bool:
        """Whether there is such a file.

        Raises:
            IOManagerError: the location lies outside the root.
        """
        return self.path(location).is_file()

    def delete(self, stored: StoredValue) -> None:
        """This value is not stored there afterwards; one that took its stable place since then stays.

        Raises:
            IOManagerError: the file could not be deleted, or lies outside the root.
        """
        path = self.path(stored.location)
        try:
            if path.stem != STABLE_NAME or content_version(path.read_bytes()) == stored.data_version:
                path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise IOManagerError(f"could not delete {path}: {error}", location=stored.location) from error

    def path(self, location: str) -> Path:
        """The path of a location.

        Raises:
            IOManagerError: it lies outside the root.
        """
        return self.root.joinpath(*parts_of(location))


def _folder(root: object) -> Path:
    if not isinstance(root, str | os.PathLike) or not os.fspath(root):
        raise ValidationError(f"expected root to be a path, got: {shown(root)}")
    return Path(root).absolute()
