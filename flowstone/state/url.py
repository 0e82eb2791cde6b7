"""Where a store is: the URL that a user writes, as the path of a file."""

from dataclasses import dataclass
from pathlib import Path

from flowstone.errors import ConfigError, StoreUnavailable

__all__ = ["Place", "place_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """A store's file; None for one that lives no longer than the process."""

    url: str
    path: str | None


def place_of(url: str) -> Place:
    """The place that a URL names: `memory://`, `sqlite:///relative/path` or `sqlite:////absolute/path`.

    >>> place_of("memory://").path is None
    True

    Raises:
        ConfigError: the URL is of no known form.
        StoreUnavailable: no file can be there.
    """
    if url == "memory://":
        return Place(url, None)
    head, separator, path = url.partition(":///")
    if head != "sqlite" or not separator or not path or "\0" in path:
        raise ConfigError(
            f"expected a store like memory://, sqlite:///file.db or sqlite:////directory/file.db, got: {url!r}", url=url
        )
    return Place(url, _writable(url, Path(path)))


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
