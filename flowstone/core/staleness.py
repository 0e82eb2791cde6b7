"""Staleness: whether a value is still what its code and its dependencies would make now. Pure.

It is asked for when somebody wants to know, and kept nowhere. Of the reasons the first that holds is given; a
dependency is newer by its data version, against the one that was read, and not by any clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

__all__ = ["Known", "Place", "Stale", "Staleness", "staleness"]

Place = tuple[str, str]
"""An asset and a partition in its stored form."""


class Staleness(enum.StrEnum):
    """The reasons, in the order in which they are looked for."""

    NEVER_MATERIALIZED = "never_materialized"
    CODE_VERSION_CHANGED = "code_version_changed"
    UPSTREAM_NEVER_MATERIALIZED = "upstream_never_materialized"
    UPSTREAM_NEWER = "upstream_newer"
    FRESHNESS_PASSED = "freshness_passed"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the newest valid value of a partition: with which code, when, and from what it was made.

    `read` holds the data version of each place that was read.
    """

    code_version: str | None
    made_at: datetime
    read: Mapping[Place, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a value is stale; `because` is the dependency's place, where it is one."""

    reason: Staleness
    because: Place | None = None


def staleness(
    known: Known | None,
    *,
    code_version: str | None,
    upstream: Iterable[tuple[Place, str | None]],
    freshness: float | None,
    now: datetime,
) -> Stale | None:
    """Why a value is stale; None when it is not.

    `upstream` are the places that it would be made from now, each with the data version that is there, None where there
    is none; `freshness` is in seconds.

    >>> from datetime import UTC
    >>> noon = datetime(2025, 1, 15, 12, tzinfo=UTC)
    >>> made = Known("2", noon, {("raw", ""): "v1"})
    >>> staleness(made, code_version="2", upstream=[(("raw", ""), "v2")], freshness=None, now=noon).reason.value
    'upstream_newer'
    """
    if known is None:
        return Stale(Staleness.NEVER_MATERIALIZED)
    if known.code_version != code_version:
        return Stale(Staleness.CODE_VERSION_CHANGED)
    places = list(upstream)
    for place, version in places:
        if version is None:
            return Stale(Staleness.UPSTREAM_NEVER_MATERIALIZED, place)
    for place, version in places:
        if known.read.get(place) != version:
            return Stale(Staleness.UPSTREAM_NEWER, place)
    if freshness is not None and now > known.made_at + timedelta(seconds=freshness):
        return Stale(Staleness.FRESHNESS_PASSED)
    return None
