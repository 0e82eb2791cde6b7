"""Runs at rest: nothing between states, one success each, and no call but those that a record explains."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from flowstone.core.run import FINISHED_MATERIALIZATIONS, FINISHED_RUNS, MaterializationStatus, RunStatus
from flowstone.runs.recovery import MAX_INTERRUPTIONS
from flowstone.runs.standing import ALREADY
from flowstone.state.connection import Connection, Row
from flowstone.state.fields import instant, json_value
from flowstone.testing.simulate.calls import ASKED, CallBook, Made
from flowstone.testing.simulate.violations import Violation

__all__ = ["check_runs"]

_TWICE = """
    select min(run_id) as run_id, run_key, count(*) as n from run group by run_key, generation having count(*) > 1
"""
_MADE = "select * from materialization order by id"
_BEHIND = """
    select run_id from run where status = 'queued' and behind and exists (
        select 1 from run o where o.source_kind = run.source_kind and o.source_name = run.source_name
        and o.id < run.id and o.status = 'waiting_approval'
    )
"""
_EVENTS = "select run_id, asset, count(*) as n from asset_event group by run_id, asset"
_INTERRUPTED = "select resource, details from audit where event_type = 'run.interrupted' order by id"

BETWEEN = "no row is left between states"
ONCE = "each run has one success"
REPEATS = "repeats only for attempts recorded interrupted or failed"

Key = tuple[str, str]


def check_runs(disk: Connection, book: CallBook, *, boot: str, now: datetime) -> Iterator[Violation]:
    """What is wrong with runs and what they made."""
    for name in book.overlaps:
        yield Violation("two calls of one thing never go on at once", name, "another one goes on")
    for row in disk.execute(_TWICE):
        yield Violation("one run for each run key", row.run_key, f"it has {row.n} runs")
    made: dict[str, list[Row]] = defaultdict(list)
    for row in disk.execute(_MADE):
        made[row.run_id].append(row)
    calls: dict[Key, list[Made]] = defaultdict(list)
    for call in book.made:
        calls[call.run_id, call.asset].append(call)
    interrupted, asked = _interruptions(disk), _questions(disk)
    behind = {row.run_id for row in disk.execute(_BEHIND)}
    events = {(row.run_id, row.asset): row.n for row in disk.execute(_EVENTS)}
    for run in disk.execute("select * from run order by id"):
        yield from _check_rest(run, made[run.run_id], boot, now)
        if run.status == RunStatus.QUEUED and instant(run.ready_at) <= now and run.run_id not in behind:
            yield Violation(BETWEEN, run.run_id, f"it is queued since {run.ready_at}, and nobody claims it at {now}")
        for row in made[run.run_id]:
            key = (run.run_id, row.asset)
            yield from _check_success(row, events.get(key, 0), calls[key])
            yield from _check_calls(run, row, calls[key], interrupted[key], asked[key])
        if run.interruptions != interrupted[run.run_id, ""]:
            text = f"it counts {run.interruptions} interruptions, {interrupted[run.run_id, '']} are recorded"
            yield Violation(REPEATS, run.run_id, text)


def _interruptions(disk: Connection) -> Counter[Key]:
    """How often each asset of each run was interrupted, and each run as the asset of no name."""
    found: Counter[Key] = Counter()
    for row in disk.execute(_INTERRUPTED):
        run_id = row.resource.removeprefix("run:")
        found.update([(run_id, ""), *((run_id, asset) for asset in json_value(row.details)["attempts"])])
    return found


def _questions(disk: Connection) -> Counter[Key]:
    """How often each asset of each run asked people."""
    return Counter((row.run_id, row.asset) for row in disk.execute("select run_id, asset from approval"))


def _check_rest(run: Row, made: list[Row], boot: str, now: datetime) -> Iterator[Violation]:
    if run.status == RunStatus.RUNNING:
        yield Violation(BETWEEN, run.run_id, "it is running, and no call of it goes on")
    finished = run.status in FINISHED_RUNS
    for row in made:
        if row.busy == boot:
            yield Violation(BETWEEN, f"{run.run_id} {row.asset}", "it is held by a call, and no call goes on")
        if row.status == MaterializationStatus.RUNNING and run.status != RunStatus.RUNNING:
            yield Violation(BETWEEN, f"{run.run_id} {row.asset}", f"it is running in a run that is {run.status}")
        if finished and row.status not in FINISHED_MATERIALIZATIONS:
            yield Violation(BETWEEN, f"{run.run_id} {row.asset}", f"it is {row.status} in a run that is {run.status}")
    statuses = {row.status for row in made}
    ended = finished and run.status != RunStatus.CANCELLED
    if ended and (run.status == RunStatus.FAILED) != (MaterializationStatus.FAILED in statuses):
        yield Violation("a run is failed when one of its assets is", run.run_id, f"{run.status}: {sorted(statuses)}")


def _check_success(row: Row, events: int, calls: list[Made]) -> Iterator[Violation]:
    subject = f"{row.run_id} {row.asset}"
    if events != (row.status == MaterializationStatus.SUCCESS):
        yield Violation(ONCE, subject, f"it is {row.status} and has {events} successes")
    if row.status == MaterializationStatus.SUCCESS:
        by = [call for call in calls if (call.fence, call.attempt, call.ended) == (row.fence, row.attempt, "ok")]
        if len(by) != 1 or row.stored is None:
            text = f"{len(by)} calls made it in attempt {row.attempt} under fencing number {row.fence}"
            yield Violation(ONCE, subject, text)


def _check_calls(run: Row, row: Row, calls: list[Made], interrupted: int, asked: int) -> Iterator[Violation]:
    subject = f"{row.run_id} {row.asset}"
    # A call that only found its dependency missing was no attempt.
    tried = [call for call in calls if call.ended != "DependencyNotReady"]
    explained = row.failures + interrupted + asked + (row.status in FINISHED_MATERIALIZATIONS)
    if len(tried) > explained:
        known = f"{row.failures} failures, {interrupted} interruptions, {asked} questions"
        yield Violation(REPEATS, subject, f"{len(tried)} calls: {known}, and it is {row.status}")
    made = (call for call in tried if call.ended != ASKED)
    for (attempt, fence), n in Counter((call.attempt, call.fence) for call in made).items():
        if n > 1:
            yield Violation(REPEATS, subject, f"{n} calls in attempt {attempt} under fencing number {fence}")
    if row.status == MaterializationStatus.FAILED and run.setbacks + 1 < MAX_INTERRUPTIONS:
        rejected = (row.error or "").startswith("approval_rejected")
        if not calls or calls[-1].ended == "ok" or (calls[-1].ended == ASKED) != rejected:
            yield Violation("what fails has failed", subject, f"it is failed ({row.error}), its last call is not")
    if row.status == MaterializationStatus.SKIPPED and row.reason == ALREADY and row.overtaken_by is None:
        yield Violation("what is skipped was made", subject, "no other run has made it")
