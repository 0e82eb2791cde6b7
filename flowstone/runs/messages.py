"""What the dispatcher and the materializers are told."""

from __future__ import annotations

from dataclasses import dataclass

from flowstone.outcome import Outcome
from flowstone.runs.attempts import Verdict
from flowstone.runs.leases import Claimed
from flowstone.runs.ledger import Progress, Started

__all__ = [
    "Advanced",
    "Claims",
    "Due",
    "Executed",
    "Look",
    "Quiesce",
    "Recover",
    "Recovered",
    "Settle",
    "SettleAgain",
    "Settled",
    "SlotsFreed",
    "Swept",
    "Wake",
]


@dataclass(frozen=True, slots=True)
class Wake:
    """Runs may be waiting: look into the store."""


@dataclass(frozen=True, slots=True)
class Quiesce:
    """Claim no more; the answer comes when nothing is in progress."""


@dataclass(frozen=True, slots=True)
class Claims:
    """A claim was committed, or failed."""

    outcome: Outcome[Claimed]


@dataclass(frozen=True, slots=True)
class Recover:
    """Put these runs back; without ids, all of this boot that have no materializer."""

    run_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """It was committed, or failed; the ids of the runs that were put back, and whether that finished them."""

    asked: Recover
    outcome: Outcome[dict[str, bool]]


@dataclass(frozen=True, slots=True)
class Swept:
    """The runs of nodes that have ended were put back, or the store failed."""

    outcome: Outcome[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Executed:
    """The call for one asset has ended, or outlasted its timeout."""

    started: Started
    outcome: Outcome[object]


@dataclass(frozen=True, slots=True)
class Settle:
    """Write what became of one asset; `approval` is the one that the call followed."""

    asset: str
    attempt: int
    verdict: Verdict
    duration: float
    approval: str | None = None


@dataclass(frozen=True, slots=True)
class SettleAgain:
    """Try the store again with what could not be written."""


@dataclass(frozen=True, slots=True)
class Settled:
    """They were committed, or failed."""

    asked: tuple[Settle, ...]
    outcome: Outcome[Progress]


@dataclass(frozen=True, slots=True)
class Due:
    """A repeated attempt is due while other assets of the run are in progress."""


@dataclass(frozen=True, slots=True)
class Look:
    """The next deadline of an approval may be another one."""


@dataclass(frozen=True, slots=True)
class SlotsFreed:
    """An attempt that was under limits has ended: those who wait for its slots may have them."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """What follows from it was committed, or failed."""

    outcome: Outcome[Progress]
