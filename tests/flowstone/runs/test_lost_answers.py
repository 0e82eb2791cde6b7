"""What a run does when the store has committed a step and the answer was lost, or when a call outlives its attempt."""

from datetime import UTC, datetime, timedelta

import pytest

from flowstone.core.catalog import Catalog
from flowstone.core.run import Identity, RunRequest, RunStatus, Source, SourceKind
from flowstone.errors import ExecutionError
from flowstone.io import StoredValue
from flowstone.pipeline import Pipeline
from flowstone.runs.attempts import Repeated, Succeeded
from flowstone.runs.leases import Claim, advance, claim, settle
from flowstone.runs.ledger import Progress
from flowstone.runs.requests import resolve
from flowstone.runs.store import request
from flowstone.state.database import Database

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
DONE = Succeeded(StoredValue("memory", "somewhere", "1"))


class Diamond:
    """A claimed run of `left` and `right`, which are ready at once, and `both`."""

    def __init__(self, database: Database) -> None:
        pipeline = Pipeline("diamond")

        @pipeline.asset
        def left(context): ...

        @pipeline.asset
        def right(context): ...

        @pipeline.asset
        def both(context, left, right): ...

        self.database = database
        self.catalog = Catalog(pipeline.assets)
        asked = resolve(
            self.catalog, RunRequest("+both"), default_key="manual:1", source=Source(SourceKind.MANUAL, None)
        )
        database.transact(lambda c: request(c, asked, identity=Identity(), now=NOW))
        self.claim: Claim = database.transact(
            lambda c: claim(c, self.catalog.graph, boot="one", now=NOW, limit=9)
        ).claims[0]

    def settle(self, asset: str, verdict=DONE, attempt: int = 1, busy: bool = False, in_hand=()) -> Progress:
        return self.database.transact(
            lambda c: settle(
                c, self.catalog.graph, self.claim.lease, asset, verdict,
                now=NOW, duration=0.5, still_busy=busy, attempt=attempt, in_hand=in_hand,
            )
        )  # fmt: skip

    def advance(self, in_hand) -> Progress:
        return self.database.transact(
            lambda c: advance(c, self.catalog.graph, self.claim.lease, now=LATER, in_hand=in_hand)
        )


@pytest.fixture
def diamond(database: Database) -> Diamond:
    return Diamond(database)


def started(progress: Progress) -> list[str]:
    return [each.asset for each in progress.start]


def test_a_settlement_that_is_repeated_changes_nothing(diamond: Diamond) -> None:
    first = diamond.settle("left", in_hand={"right"})
    assert diamond.settle("left", in_hand={"right"}) == first


def test_what_a_lost_settlement_started_is_told_again(diamond: Diamond) -> None:
    diamond.settle("left", in_hand={"right"})
    assert started(diamond.settle("right", in_hand=())) == ["both"]
    assert started(diamond.settle("right", in_hand=())) == ["both"]


def test_what_the_materializer_has_in_hand_is_not_told_again(diamond: Diamond) -> None:
    assert started(diamond.advance(in_hand={"left", "right"})) == []


def test_a_repeated_attempt_that_a_lost_step_started_is_told_again(diamond: Diamond) -> None:
    diamond.settle("left", Repeated(ExecutionError("boom"), LATER), in_hand={"right"})
    assert started(diamond.advance(in_hand={"right"})) == ["left"]
    again = diamond.advance(in_hand={"right"})
    assert [(each.asset, each.attempt) for each in again.start] == [("left", 2)]


def test_a_late_settlement_of_an_earlier_attempt_leaves_the_next_one_alone(diamond: Diamond) -> None:
    diamond.settle("left", Repeated(ExecutionError("boom"), LATER), in_hand={"right"})
    diamond.advance(in_hand={"right"})
    diamond.settle("left", Repeated(ExecutionError("boom"), LATER), attempt=1, in_hand={"right"})
    assert diamond.settle("left", attempt=2, in_hand={"right"}).finished is None


def test_an_attempt_waits_for_the_earlier_call_of_its_own_asset(diamond: Diamond) -> None:
    diamond.settle("left", Repeated(ExecutionError("timeout"), LATER), busy=True, in_hand={"right"})
    assert started(diamond.advance(in_hand={"right"})) == []


def test_a_run_that_only_waits_for_its_own_calls_is_put_off(diamond: Diamond) -> None:
    diamond.settle("left", Repeated(ExecutionError("timeout"), NOW), busy=True, in_hand={"right"})
    assert diamond.settle("right", in_hand=()).released
    row = diamond.database.read(lambda c: c.execute("select status, ready_at from run"))[0]
    assert row.status == RunStatus.QUEUED
    assert row.ready_at is not None
