"""The calls about resources, as programs and tests make them."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from flowstone.resources.book import ResourceBook, ResourceRow

__all__ = ["Override", "Resources"]


class Override:
    """A handle in place of a resource's own, until `restore()` or the end of the `with` block."""

    def __init__(self, book: ResourceBook, name: str, handle: Any) -> None:
        self.handle = handle
        self._book, self._name = book, name
        self._replacement = book.replace(name, handle)

    def restore(self) -> None:
        """Take it back; others that were put in since then stay. Harmless when repeated."""
        self._book.restore(self._name, self._replacement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()


class Resources:
    """The resources of a runtime."""

    def __init__(self, book: ResourceBook) -> None:
        self._book = book

    def get(self, name: str) -> Any:
        """The handle of a resource; waits for a first set-up that goes on.

        Raises:
            ValidationError: there is none of this name; suggests the nearest.
            ResourceUnavailable: it is down; its reason is told.
        """
        return self._book.handle(name)

    def health(self) -> tuple[ResourceRow, ...]:
        """All resources as they are now: `name`, `status` (`up` or `down`), `reason`."""
        return self._book.rows()

    def override(self, name: str, handle: Any) -> Override:
        """Let assets have this handle in place of the resource's own, for tests; before the start too.

        A resource that is overridden before the start is not set up. Use the answer as a context manager, or call
        its `restore()`.

        Raises:
            ValidationError: there is none of this name.
        """
        return Override(self._book, name, handle)
