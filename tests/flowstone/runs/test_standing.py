"""How a run stands, kept from step to step: a step that reads little says and writes what one says that reads all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.approvals import store as approvals
from flowstone.approvals.verdicts import Verdict as Decision
from flowstone.core.approval import ApprovalStatus, WaitForApproval
from flowstone.core.asset import Asset
from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity, RunRequest, Source, SourceKind
from flowstone.core.run_key import hand_key
from flowstone.errors import ExecutionError
from flowstone.io import StoredValue
from flowstone.runs import store
from flowstone.runs.approving import decide
from flowstone.runs.attempts import Ended, Failed, Repeated, Skipped, Snoozed, Succeeded, Verdict, Waiting
from flowstone.runs.leases import Claim, advance, claim, settle_all
from flowstone.runs.ledger import Progress
from flowstone.runs.limits import Limits
from flowstone.runs.recovery import release_busy
from flowstone.runs.requests import resolve
from flowstone.runs.standing import MOST_READ, Standing
from flowstone.state.connection import Connection
from flowstone.state.database import Database

BOOT = "boot-1"
NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
SOON = timedelta(seconds=10)
STORED = StoredValue(manager="memory", location="here", data_version="1")
ERROR = ExecutionError("boom")


def graph_of(needs: dict[str, tuple[str, ...]], pool: str | None = None) -> Catalog:
    assets = (Asset(lambda context: 1, name=name, depends_on=list(some), pool=pool) for name, some in needs.items())
    return Catalog([*assets])


class Held:
    """A run that somebody holds and works on; each step is taken twice, first with all rows read, and compared."""

    def __init__(self, database: Database, catalog: Catalog, limits: Limits) -> None:
        self.database, self.graph, self.limits = database, catalog.graph, limits
        self.now = NOON
        self.in_hand: set[str] = set()
        self.busy: set[str] = set()
        wanted = RunRequest("*", None)
        resolved = resolve(catalog, wanted, default_key=hand_key(), source=Source(SourceKind.MANUAL))
        database.transact(lambda c: store.request(c, resolved, identity=Identity(), now=NOON))
        self.claim()

    def claim(self) -> None:
        """Take the run up, when it was put off and may go on."""
        claimed = self.database.transact(
            lambda c: claim(c, self.graph, boot=BOOT, now=self.now, limit=1, limits=self.limits)
        )
        self.claimed: Claim | None = next(iter(claimed.claims), None)
        if self.claimed is not None:
            self.proceed(self.claimed.progress)

    def proceed(self, progress: Progress) -> None:
        self.known = progress.standing
        self.in_hand.update(started.asset for started in progress.start)
        if progress.released or progress.finished is not None:
            assert not self.in_hand
            self.claimed = None

    def step(self, *verdicts: tuple[str, Verdict, bool]) -> None:
        """Settle these attempts, or look at what is due."""
        assert self.claimed is not None
        lease = self.claimed.lease
        self.in_hand -= {asset for asset, _, _ in verdicts}
        self.busy |= {asset for asset, _, busy in verdicts if busy}
        ended = [Ended(asset, verdict, 0.5, busy) for asset, verdict, busy in verdicts]
        options: dict[str, Any] = {"now": self.now, "in_hand": frozenset(self.in_hand), "limits": self.limits}

        def take(connection: Connection, known: Standing | None) -> Progress:
            if ended:
                return settle_all(connection, self.graph, lease, ended, known=known, **options)
            return advance(connection, self.graph, lease, known=known, **options)

        def both(connection: Connection) -> Progress:
            connection.execute("savepoint other")
            wanted, rows = take(connection, None), self.rows(connection)
            connection.execute("rollback to other")
            found = take(connection, self.known)
            assert found == wanted
            assert self.rows(connection) == rows
            return found

        self.proceed(self.database.transact(both))

    def rows(self, connection: Connection) -> list[tuple[Any, ...]]:
        """All that steps write; approvals are named at random."""
        assets = connection.execute("select * from materialization order by id")
        runs = connection.execute("select * from run order by id")
        told = [tuple(row[name] for name in row.keys() if name != "approval") for row in [*assets, *runs]]
        return [*told, *(row.approval is None for row in assets), *map(tuple, _events(connection))]

    def decide(self, number: int, *, approve: bool) -> None:
        """Somebody decides, from outside; who holds the run is told to look."""
        pending = self.database.read(approvals.pending)
        if pending:
            status = ApprovalStatus.APPROVED if approve else ApprovalStatus.REJECTED
            said = Decision(status=status, by="ann")
            identifier = pending[number % len(pending)].id
            self.database.transact(lambda c: decide(c, self.graph, identifier, said, self.now))
            self.look()

    def release(self, number: int) -> None:
        """A call that outlived its attempt has come back."""
        if self.busy:
            asset = sorted(self.busy)[number % len(self.busy)]
            self.busy.discard(asset)
            (row,) = self.database.read(lambda c: c.execute("select run_id from run"))
            self.database.transact(lambda c: release_busy(c, row.run_id, asset, boot=BOOT))
            self.look()

    def look(self) -> None:
        if self.claimed is None:
            self.claim()
        else:
            self.step()


def _events(connection: Connection) -> list[Any]:
    return connection.execute("select asset, partition, run_id from asset_event order by id")


VERDICTS: dict[str, Callable[[datetime], tuple[Verdict, bool]]] = {
    "succeed": lambda now: (Succeeded(STORED), False),
    "skip": lambda now: (Skipped("nothing to do"), False),
    "fail": lambda now: (Failed(ERROR), False),
    "give up": lambda now: (Failed(ERROR), True),
    "repeat": lambda now: (Repeated(ERROR, now + SOON), False),
    "repeat at once": lambda now: (Repeated(ERROR, now), True),
    "snooze": lambda now: (Snoozed(ERROR, now + SOON), False),
    "ask": lambda now: (Waiting(WaitForApproval("go on?")), False),
}
OFTEN = ["succeed"] * 5 + list(VERDICTS)
ACTIONS = ["settle"] * 5 + ["wait", "approve", "reject", "release"]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    names = [f"a{number}" for number in range(draw(st.integers(1, 8)))]
    return {
        name: tuple(draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3))) if place else ()
        for place, name in enumerate(names)
    }


@pytest.mark.property
@settings(max_examples=60)
@given(needs=graphs(), pooled=st.booleans(), data=st.data())
def test_a_step_that_knows_how_the_run_stood_is_as_one_that_reads_it_all(
    needs: dict[str, tuple[str, ...]], pooled: bool, data: st.DataObject
) -> None:
    catalog = graph_of(needs, pool="few" if pooled else None)
    limits = Limits.of(catalog, {"few": 2} if pooled else {})
    with Database.open("memory://") as database:
        held = Held(database, catalog, limits)
        for action in data.draw(st.lists(st.sampled_from(ACTIONS), min_size=10, max_size=25)):
            number = data.draw(st.integers(0, 3))
            if action == "settle" and held.claimed is not None and held.in_hand:
                some = sorted(held.in_hand)[: 1 + number]
                said = [(asset, *VERDICTS[data.draw(st.sampled_from(OFTEN))](held.now)) for asset in some]
                held.step(*said)
            elif action in ("approve", "reject"):
                held.decide(number, approve=action == "approve")
            elif action == "release":
                held.release(number)
            elif action == "wait":
                held.now += SOON
                held.look()


def chain(length: int) -> Catalog:
    return graph_of({f"a{n:03}": (f"a{n - 1:03}",) if n else () for n in range(length)})


def test_a_step_reads_what_it_settles_however_many_assets_the_run_has() -> None:
    with Database.open("memory://") as database:
        held = Held(database, chain(300), Limits())
        for number in range(5):
            assert held.known is not None
            assert held.known.to_read([f"a{number:03}"]) == (f"a{number:03}",)
            held.step((f"a{number:03}", Succeeded(STORED), False))
            assert held.in_hand == {f"a{number + 1:03}"}


def test_a_step_that_settles_much_reads_the_whole_run() -> None:
    many = graph_of({f"a{n:03}": () for n in range(MOST_READ + 1)})
    with Database.open("memory://") as database:
        held = Held(database, many, Limits())
        assert held.known is not None
        assert held.known.to_read(held.in_hand) == ()
        held.step(*((asset, Succeeded(STORED), False) for asset in list(held.in_hand)))
        assert held.claimed is None
