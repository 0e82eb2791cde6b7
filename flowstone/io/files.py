"""Values in files: one folder an asset, one below it a partition, each value written atomically.

With placement `attempt` each attempt has a file of its own, and the row of the success says which one counts. With
`stable` there is one known file for each partition, replaced atomically, for readers outside.
"""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from flowstone.errors import IOManagerError, ValidationError, ValueNotFound, did_you_mean, shown
from flowstone.io import atomic
from flowstone.io.base import IOContext, StoredValue, content_version
from flowstone.io.places import STABLE_NAME, attempt_place, stable_place

__all__ = ["FilesIO"]

_PARTS = ".parts"


def _to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _to_pickle(value: Any) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


_FORMATS: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    "json": (_to_json, json.loads),
    "pickle": (_to_pickle, pickle.loads),
}
_PLACEMENTS = {"attempt": attempt_place, "stable": stable_place}


class FilesIO:
    """Stores values in files below `root`, which is made when it is first needed.

    `format` is "pickle" (any picklable value; load only files that you trust) or "json" (what JSON has: a tuple comes
    back as a list). `placement` is "attempt" or "stable". A location is a path relative to the root, so the
    root may move.

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
        self.root = _folder(root)
        self.format = _choice("format", format, _FORMATS)
        self.placement = _choice("placement", placement, _PLACEMENTS)
        self._swept = False

    def __repr__(self) -> str:
        return f"FilesIO({str(self.root)!r}, format={self.format!r}, placement={self.placement!r})"

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the value is, once it is synced to disk.

        Raises:
            IOManagerError: it is not of the format (not retryable), or the disk refused it.
        """
        location = f"{_PLACEMENTS[self.placement](context)}.{self.format}"
        content = self._content(context, value)
        try:
            self._sweep_once()
            atomic.write(self.root / location, content, parts=self.root / _PARTS)
        except OSError as error:
            message = f"could not store {context.asset} at {location} below {self.root}: {error}"
            raise IOManagerError(message, location=location) from error
        return StoredValue("files", location, content_version(content), len(content))

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The value that was stored there.

        Raises:
            ValueNotFound: there is no such file.
            IOManagerError: it can't be read, or its content is no value of its format.
        """
        path = self._path(stored)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise ValueNotFound(
                f"no value of {context.asset} at {path}; materialize it again", asset=context.asset
            ) from None
        except OSError as error:
            raise IOManagerError(f"could not load {context.asset} from {path}: {error}") from error
        return self._value(path, content)

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether a value is stored there.

        Raises:
            IOManagerError: the location lies outside the root.
        """
        return self._path(stored).is_file()

    def delete(self, stored: StoredValue) -> None:
        """This value is not stored there afterwards; one that took its stable place since then stays.

        Raises:
            IOManagerError: the file could not be deleted, or lies outside the root.
        """
        path = self._path(stored)
        try:
            if path.stem != STABLE_NAME or content_version(path.read_bytes()) == stored.data_version:
                path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise IOManagerError(f"could not delete {path}: {error}", location=stored.location) from error

    def _content(self, context: IOContext, value: Any) -> bytes:
        write, _ = _FORMATS[self.format]
        try:
            return write(value)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise IOManagerError(
                f"could not store {context.asset}: expected a value that {self.format} can hold, "
                f"got {type(value).__qualname__} ({reason})",
                retryable=False,
                asset=context.asset,
            ) from error

    def _value(self, path: Path, content: bytes) -> Any:
        _, read = _FORMATS.get(path.suffix.removeprefix("."), _FORMATS[self.format])
        try:
            return read(content)
        except Exception as error:
            raise IOManagerError(
                f"could not load {path}: {type(error).__name__}: {error}", retryable=False, location=str(path)
            ) from error

    def _path(self, stored: StoredValue) -> Path:
        parts = stored.location.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\0" in stored.location:
            raise IOManagerError(f"expected a location below the root, got: {shown(stored.location)}", retryable=False)
        return self.root.joinpath(*parts)

    def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            atomic.sweep(self.root / _PARTS)


def _folder(root: object) -> Path:
    if not isinstance(root, str | os.PathLike) or not os.fspath(root):
        raise ValidationError(f"expected root to be a path, got: {shown(root)}")
    return Path(root).absolute()


def _choice(option: str, given: str, known: dict[str, Any]) -> str:
    if given not in known:
        hint = did_you_mean(str(given), known)
        raise ValidationError(f"expected {option} to be one of {', '.join(known)}, got: {shown(given)}{hint}")
    return given
