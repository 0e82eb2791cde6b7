"""Places for values: path-like text, one for each asset, partition and attempt, that can't leave its root.

A part is the name itself where that is plain lower-case text. Any other name is made plain and gets a hash behind
`~`, which no plain part holds: so two names never share a place, not even on a disk that folds cases or where
names may have 255 bytes.
"""

import hashlib
import re

from flowstone.errors import IOManagerError, shown
from flowstone.io.base import IOContext

__all__ = ["PLACEMENTS", "STABLE_NAME", "attempt_place", "parts_of", "stable_place"]

STABLE_NAME = "value"
"""The last part of each stable place."""

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,99}")
_NOT_PLAIN = re.compile(r"[^a-z0-9_.-]+")
_LONGEST_HINT = 60  # characters of a name that are shown beside its hash


def attempt_place(context: IOContext) -> str:
    """The place of one attempt: asset/partition/run.attempt.fence.

    Raises:
        PartitionError: the partition is not legal.

    >>> from datetime import date
    >>> attempt_place(IOContext(asset="raw", partition=date(2025, 1, 15), run_id="run_a", attempt=1, fence=7))
    'raw/2025-01-15/run_a.1.7'
    """
    attempt = f"{_part(context.run_id)}.{int(context.attempt)}.{int(context.fence)}"
    return f"{_part(context.asset)}/{_partition(context)}/{attempt}"


def stable_place(context: IOContext) -> str:
    """The one place of an asset and partition: asset/partition/value.

    Raises:
        PartitionError: the partition is not legal.

    >>> stable_place(IOContext(asset="Report", partition=None))
    'report~b6ce788d9786917c9d19adaa0d904213/~none/value'
    """
    return f"{_part(context.asset)}/{_partition(context)}/{STABLE_NAME}"


PLACEMENTS = {"attempt": attempt_place, "stable": stable_place}
"""How places are chosen, by the name of the option."""


def parts_of(location: str) -> list[str]:
    """The parts of a location, none of which leads out of a root.

    Raises:
        IOManagerError: one of them does.

    >>> parts_of("raw/2025-01-15/run_a.1.0.json")
    ['raw', '2025-01-15', 'run_a.1.0.json']
    """
    parts = location.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\0" in location:
        raise IOManagerError(f"expected a location below the root, got: {shown(location)}", retryable=False)
    return parts


def _partition(context: IOContext) -> str:
    encoded = context.encoded_partition
    if not encoded:
        return "~none"
    # No text is stored as `2025-01-15`, so a date may stand without its tag.
    return _part(encoded.removeprefix("d:"))


def _part(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    hint = _NOT_PLAIN.sub("_", name[:_LONGEST_HINT].lower()).strip("._-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{hint}~{digest[:32]}"
