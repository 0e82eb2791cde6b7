"""Where a performance of the demo keeps its things: store, watched folder, values."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from flowstone.errors import ValidationError
from flowstone.state.url import place_of

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """The store's URL and the folder that is watched."""

    store: str
    folder: Path

    @property
    def values(self) -> Path:
        """Where a runtime keeps the values beside such a store."""
        return Path(f"{place_of(self.store).path}.values")

    @classmethod
    def of(cls, store: str | None, folder: Path | None, resources: ExitStack) -> Self:
        """The place for the options of a call; without a store everything is removed with `resources`.

        Raises:
            ValidationError: the store is one that no other process can read.
        """
        if store is None:
            scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="flowstone-demo-")))
            store = f"sqlite:///{scratch / 'demo.db'}"
        path = place_of(store).path
        if path is None:
            expected = "a store that another process can read, such as sqlite:///demo.db"
            raise ValidationError(f"expected {expected}, got: {store}")
        place = cls(store, folder or Path(f"{path}.arriving"))
        place.folder.mkdir(parents=True, exist_ok=True)
        return place
