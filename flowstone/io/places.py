"""Places for values: path-like text, one for each asset, partition and attempt, that can't leave its root.

A part is the name itself where that is plain lower-case text. Any other name is made plain and gets a hash behind
`~`, which no plain part holds: so two names never share a place, not even on a disk that folds cases or where
names may have 255 bytes.
"""

import hashlib
import re

from flowstone.io.base import IOContext

__all__ = ["STABLE_NAME", "attempt_place", "stable_place"]

STABLE_NAME = "value"

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
