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
    """The store's URL, the folder that is watched, the folder of the values."""

    store: str
    folder: Path
    values: Path

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
        place = cls(store, folder or Path(f"{path}.arriving"), Path(f"{path}.values"))
        place.folder.mkdir(parents=True, exist_ok=True)
        return place
