"""The rows of one run within a transaction: each step is written, and mirrored, so that no row is read twice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from flowstone.approvals import store as approvals
from flowstone.approvals.approval import decision_of
from flowstone.core.approval import Decision
from flowstone.core.graph import Graph
from flowstone.core.run import MATERIALIZATION_STEPS, RUN_STEPS, MaterializationStatus, RunStatus, step
from flowstone.errors import ExecutionError, FlowstoneError
from flowstone.io import StoredValue
from flowstone.lineage import store as lineage
from flowstone.runs.attempts import Failed, Repeated, Skipped, Snoozed, Succeeded, Waiting
from flowstone.runs.limits import Limit, Limits, Slots
from flowstone.runs.plan import AssetState, Plan, plan
from flowstone.runs.standing import ALREADY, Standing
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import Json, instant

__all__ = ["Ending", "Lease", "Ledger", "Newest", "Progress", "Started", "asset_rows", "error_text"]

Ending = Succeeded | Skipped | Failed

_ASSETS = "select * from materialization where run_id = :run_id order by id"
_START_ASSET = """
    update materialization set status = :status, attempt = failures + 1, started_at = :now, ready_at = null,
    busy = null, fence = :fence where id = :id
"""
_END_ASSET = """
    update materialization set status = :status, completed_at = :now, duration = :duration, error = :error,
    reason = :reason, stored = :stored, data_version = :data_version, busy = :busy
    where id = :id
"""
_DELAY_ASSET = """
    update materialization set status = :status, ready_at = :ready_at, failures = failures + :failed, error = :error,
    snoozed_since = :snoozed_since, busy = :busy where id = :id
"""
_WAIT_ASSET = "update materialization set status = :status, approval = :approval, duration = :duration where id = :id"
_RESUME_ASSET = "update materialization set status = :status, ready_at = null where id = :id"
_EVENT = "insert into asset_event (asset, partition, run_id, at) values (:asset, :partition, :run_id, :now)"
_END_RUN = """
    update run set status = :status, completed_at = :now, error = :error, boot = null, attempt = :attempt,
    setbacks = :setbacks where run_id = :run_id
"""
_REQUEUE = """
    update run set status = :status, ready_at = :ready_at, boot = null, attempt = :attempt, setbacks = :setbacks
    where run_id = :run_id
"""
_GO_ON = "update run set attempt = :attempt, setbacks = :setbacks where run_id = :run_id"

_STATUS = {
    Succeeded: MaterializationStatus.SUCCESS,
    Skipped: MaterializationStatus.SKIPPED,
    Failed: MaterializationStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a run: the boot that claimed it and the fencing number of the claim."""

    run_id: str
    boot: str
    fence: int


@dataclass(frozen=True, slots=True)
class Newest:
    """The value of an asset for a partition (stored form) that a transaction has just made the newest."""

    asset: str
    partition: str
    run_id: str
    stored: StoredValue


@dataclass(frozen=True, slots=True)
class Started:
    """One asset that is to be executed now; after an approval, with its id and what was decided.

    `at_hand` are values that the transaction which starts it has made, for it to be made from.
    """

    asset: str
    attempt: int
    snoozed_since: datetime | None
    approval: str | None = None
    decision: Decision | None = None
    at_hand: tuple[Newest, ...] = ()

    def newest(self, asset: str, partition: str) -> Newest | None:
        """The newest value of an asset for a partition (stored form), where it is at hand."""
        return next((each for each in self.at_hand if (each.asset, each.partition) == (asset, partition)), None)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after a step: start these, or it is finished, or it was put off (`released`).

    `wait_until` is when the next repeated attempt is due; `waits` says that something of it waits for others, so that
    it has to look again when they have done their part. `standing` is for the next step of who holds the run.
    """

    start: tuple[Started, ...] = ()
    finished: RunStatus | None = None
    wait_until: datetime | None = None
    released: bool = False
    waits: bool = False
    standing: Standing | None = field(default=None, compare=False, repr=False)


class Ledger:
    """A running run's rows, its assets' states, and the steps that change both."""

    def __init__(
        self,
        connection: Connection,
        graph: Graph,
        lease: Lease,
        standing: Standing,
        now: datetime,
        *,
        attempt: int,
        setbacks: int,
        slots: Slots | None = None,
    ) -> None:
        self.connection = connection
        self.graph = graph
        self.lease = lease
        self.now = now
        self.slots = slots or Slots(connection, Limits())
        self.attempt = attempt
        self.setbacks = setbacks
        self._written = (attempt, setbacks)
        self.standing = standing
        self.rows, self.states = standing.rows, standing.states
        # Moves with `delay`: the pause may be over by the time that it is written, and the next attempt starts at once.
        self._moved: dict[str, tuple[int, datetime | None]] = {}
        self._made: dict[str, Newest] = {}

    def count_attempt(self, asset: str) -> None:
        """An attempt has ended: it shows on the run, and ends a row of interruptions."""
        self.attempt = max(self.attempt, self.rows[asset].attempt)
        self.setbacks = 0

    def end(self, asset: str, ending: Ending, *, duration: float | None = None, busy: str | None = None) -> None:
        """An asset is finished."""
        row = self.rows[asset]
        status = step(MATERIALIZATION_STEPS, self.states[asset].status, _STATUS[type(ending)])
        stored, inputs = (ending.stored, ending.inputs) if isinstance(ending, Succeeded) else (None, ())
        error = error_text(ending.error) if isinstance(ending, Failed) else None
        reason = ending.reason if isinstance(ending, Skipped) else None
        self.connection.execute(
            _END_ASSET,
            id=row.id,
            status=status,
            now=self.now,
            duration=duration,
            error=error,
            reason=reason,
            stored=None if stored is None else Json({name: getattr(stored, name) for name in stored.__slots__}),
            data_version=None if stored is None else stored.data_version,
            busy=busy,
        )
        if stored is not None:
            self.connection.execute(_EVENT, asset=asset, partition=row.partition, run_id=row.run_id, now=self.now)
            lineage.record(self.connection, row.run_id, asset, row.partition, inputs)
            self._made[asset] = Newest(asset, row.partition, row.run_id, stored)
        if error is not None:
            self.standing.errors[asset] = error
        self._put(asset, AssetState(status, satisfied=reason == ALREADY))

    def delay(self, asset: str, verdict: Repeated | Snoozed, *, busy: str | None = None) -> None:
        """An asset is to be attempted again later; a snooze uses up no attempt."""
        row = self.rows[asset]
        status = step(MATERIALIZATION_STEPS, self.states[asset].status, MaterializationStatus.PENDING)
        snoozed = isinstance(verdict, Snoozed)
        failures, since = self._before(asset)
        since = (since or self.now) if snoozed else None
        self._moved[asset] = (failures + int(not snoozed), since)
        self.connection.execute(
            _DELAY_ASSET,
            id=row.id,
            status=status,
            ready_at=verdict.ready_at,
            failed=int(not snoozed),
            error=error_text(verdict.error),
            snoozed_since=since,
            busy=busy,
        )
        self._put(asset, AssetState(status, verdict.ready_at, held=busy is not None))

    def wait(self, asset: str, verdict: Waiting, *, duration: float) -> None:
        """An asset asks people. One that asks the same again has not looked at what they said, and fails."""
        row = self.rows[asset]
        asker = approvals.Asker(row.run_id, asset, row.partition)
        identifier = approvals.ask(self.connection, asker, verdict.question, self.now)
        if identifier is None:
            expected = f"expected asset {asset!r} to go on when context.approval says that it was approved"
            self.end(asset, Failed(ExecutionError(f"{expected}, got: the same question again")), duration=duration)
            return
        status = step(MATERIALIZATION_STEPS, self.states[asset].status, MaterializationStatus.WAITING_APPROVAL)
        self.connection.execute(_WAIT_ASSET, id=row.id, status=status, approval=identifier, duration=duration)
        self._put(asset, AssetState(status))

    def resume(self, asset: str) -> None:
        """People have approved what an asset asked: its function is called again."""
        status = step(MATERIALIZATION_STEPS, self.states[asset].status, MaterializationStatus.PENDING)
        self.connection.execute(_RESUME_ASSET, id=self.rows[asset].id, status=status)
        self._put(asset, AssetState(status))

    def is_attempting(self, asset: str, attempt: int | None, approval: str | None = None) -> bool:
        """Whether this attempt at an asset (None: any) is in progress, as the call that follows this approval."""
        running = self.states[asset].status is MaterializationStatus.RUNNING
        row = self.rows[asset]
        return running and (attempt is None or (attempt, approval) == (row.attempt, row.approval))

    def advance(self, in_hand: Collection[str] | None = None) -> Progress:
        """Apply the plan: skip what is blocked, start what is ready, end or put off the run.

        `in_hand` names the assets that the materializer works on. What is running besides was started by a commit of
        which the answer was lost, and is told of again.
        """
        running = self.standing.live_with(MaterializationStatus.RUNNING)
        lost = [asset for asset in running if in_hand is not None and asset not in in_hand]
        planned = self._planned()
        if planned.finished is not None:
            self._end_run(RunStatus.RUNNING, planned.finished)
            return Progress(finished=planned.finished)
        lucky = [asset for asset in planned.start if self.slots.take(asset)]
        started = (*map(self._started, lost), *map(self._start, lucky))
        if not (running or started):
            self._put_off(RunStatus.RUNNING, planned)
        elif (self.attempt, self.setbacks) != self._written:
            self._write(_GO_ON)
        return Progress(
            start=started,
            wait_until=planned.wait_until,
            released=not (running or started),
            waits=self._waits or len(lucky) < len(planned.start),
            standing=self.standing.settled({*planned.start} - {*lucky}),
        )

    @property
    def slots_lacking(self) -> Limit | None:
        """The limit that leaves no slot, when nothing can become of the run now but attempts that lack one."""
        planned = self._next()
        if not planned.start or planned.skip or planned.finished is not None:
            return None
        lacking = [self.slots.full(asset) for asset in planned.start]
        return lacking[0] if all(lacking) else None

    def conclude(self) -> RunStatus:
        """Of a run that nobody works on, one of whose questions was answered: end it, or let it go on or wait.

        Who does not know its assets, as a client without definitions, leaves it to a runtime.
        """
        if any(asset not in self.graph for asset in self.rows):
            self._write(_REQUEUE, status=RunStatus.QUEUED, ready_at=self.now)
            return RunStatus.QUEUED
        planned = self._planned()
        if planned.finished is None:
            return self._put_off(RunStatus.WAITING_APPROVAL, planned)
        return self._end_run(RunStatus.WAITING_APPROVAL, planned.finished)

    def _planned(self) -> Plan:
        """What of the run comes next; what is skipped by it is written."""
        planned = self._next()
        for asset, blocked_by in planned.skip:
            self.end(asset, Skipped(f"{blocked_by} has no value"))
        return planned

    def _next(self) -> Plan:
        planned = self._plan()
        if planned.skip:
            self.standing.reach((asset for asset, _ in planned.skip), self.graph)
            planned = self._plan()
        return planned

    def _plan(self) -> Plan:
        pending = self.standing.live_with(MaterializationStatus.PENDING)
        needs = {asset: self.graph.dependencies(asset) if asset in self.graph else () for asset in pending}
        return plan(needs, self.states, self.now)

    @property
    def _waits(self) -> bool:
        return bool(self.standing.live_with(MaterializationStatus.WAITING_APPROVAL))

    def _put_off(self, before: RunStatus, planned: Plan) -> RunStatus:
        """Let nobody work on the run until it is due again, or until people have decided."""
        ready_at = planned.wait_until
        if planned.start or any(self.states[asset].held for asset in self.standing.live):
            ready_at = self.now
        waiting = self._waits and ready_at is None
        status = RunStatus.WAITING_APPROVAL if waiting else RunStatus.QUEUED
        if status is not before:
            step(RUN_STEPS, before, status)
        self._write(_REQUEUE, status=status, ready_at=None if waiting else ready_at or self.now)
        return status

    def _end_run(self, before: RunStatus, after: RunStatus) -> RunStatus:
        status = step(RUN_STEPS, before, after)
        self._write(_END_RUN, status=status, now=self.now, error=self.standing.error)
        return status

    def _put(self, asset: str, state: AssetState) -> None:
        self.standing.put(asset, state, self.graph)

    def _before(self, asset: str) -> tuple[int, datetime | None]:
        """How many attempts at an asset have failed, and since when it snoozes."""
        row = self.rows[asset]
        return self._moved.get(asset) or (row.failures, instant(row.snoozed_since))

    def _write(self, sql: str, **values: object) -> None:
        own = {"run_id": self.lease.run_id, "attempt": self.attempt, "setbacks": self.setbacks}
        self.connection.execute(sql, own, **values)

    def _start(self, asset: str) -> Started:
        row = self.rows[asset]
        status = step(MATERIALIZATION_STEPS, self.states[asset].status, MaterializationStatus.RUNNING)
        self.connection.execute(_START_ASSET, id=row.id, status=status, now=self.now, fence=self.lease.fence)
        self._put(asset, AssetState(status))
        return self._started(asset)

    def _started(self, asset: str) -> Started:
        failures, since = self._before(asset)
        identifier = self.rows[asset].approval
        approval = None if identifier is None else approvals.find(self.connection, identifier)
        decision = None if approval is None else decision_of(approval)
        needs = self.graph.dependencies(asset) if self._made and asset in self.graph else ()
        at_hand = tuple(self._made[need] for need in needs if need in self._made)
        return Started(asset, failures + 1, since, identifier, decision, at_hand)


def asset_rows(connection: Connection, run_id: str) -> list[Row]:
    """The rows of a run's assets, in the order of the graph at its request."""
    return connection.execute(_ASSETS, run_id=run_id)


def error_text(error: FlowstoneError) -> str:
    """An error as rows hold it: its type, then its message."""
    return f"{error.type}: {error}"
