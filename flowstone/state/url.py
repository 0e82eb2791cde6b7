"""Where a store is: the URL that a user writes, as the path of a file or the address of a database."""

import enum
import re
from dataclasses import dataclass
from pathlib import Path

from flowstone.errors import ConfigError, StoreUnavailable

__all__ = ["Kind", "Place", "place_of"]

_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)|(?<=password=)[^&]*")


class Kind(enum.Enum):
    """What keeps a store."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Place:
    """A store's file; None for one that lives no longer than the process, and for a database."""

    url: str
    path: str | None
    kind: Kind

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return _PASSWORD.sub("***", self.url) if self.kind is Kind.POSTGRESQL else self.url


def place_of(url: str) -> Place:
    """The place that a URL names.

    `memory://`, `sqlite:///relative/path`, `sqlite:////absolute/path`, or `postgresql://user:password@host/database`
    with what else libpq understands; `?options=-csearch_path%3Dname` names a schema.

    >>> place_of("memory://").path is None
    True

    Raises:
        ConfigError: the URL is of no known form.
        StoreUnavailable: no file can be there.
    """
    if url == "memory://":
        return Place(url, None, Kind.MEMORY)
    if url.startswith(("postgresql://", "postgres://")) and "\0" not in url:
        return Place(url, None, Kind.POSTGRESQL)
    head, separator, path = url.partition(":///")
    if head != "sqlite" or not separator or not path or "\0" in path:
        raise ConfigError(
            "expected a store like memory://, sqlite:///file.db, sqlite:////directory/file.db or "
            f"postgresql://user@host/database, got: {url!r}",
            url=url,
        )
    return Place(url, _writable(url, Path(path)), Kind.SQLITE)


def _writable(url: str, path: Path) -> str:
    """The file's one true path: the lock lies beside it, whatever link led there."""
    try:
        resolved = path.resolve()
        if resolved.is_dir():
            raise StoreUnavailable(f"store {url} can't be opened: {resolved} is a directory", retryable=False, url=url)
        if not resolved.parent.is_dir():
            message = f"store {url} can't be opened: directory {resolved.parent} does not exist"
            raise StoreUnavailable(message, retryable=False, url=url)
    except (OSError, RuntimeError) as error:
        raise StoreUnavailable(f"store {url} can't be opened: {error}", retryable=False, url=url) from error
    return str(resolved)
