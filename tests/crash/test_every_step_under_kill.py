"""A service under load dies at each named step and at random moments: nothing is lost, nothing is done twice.

Schedules fire each second, a source grows, messages are pushed, runs are asked for, callbacks are called. One store is
used for many lives. After each death, nothing may be lost or doubled; after the last life, all is done.
"""

from __future__ import annotations

import ast
import json
import math
import pickle
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

import flowstone
from flowstone.core.partitions import decode_partition
from flowstone.failpoints import FAIL_POINTS
from flowstone.io import StoredValue
from flowstone.io.base import content_version
from flowstone.state.migrate import migrations

SETTLED = "('triggered', 'no_trigger')"
FIRST = ["migration.before_commit", "migration.after_commit", "start.after_register", "sensor.after_first_cursor"]
AFTER_A_RUN = {"start.after_put_back", "put_back.before_commit"}
ORDERS = {
    "put_back.after_commit": ["push crash-1"],
    "put_back.after_release": ["push crash-2"],
    "stop.after_put_back": ["push slow-1", "stop"],
}
DEATHS_IN_A_ROW = 6
"""Fewer than the interruptions after which a run is taken for poisoned."""
LONGEST_LIFE = 0.4
RANDOM_KILLS = 100
PARTS = 2
"""Of them, so that each ends well within its time."""

pytestmark = pytest.mark.crash


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_dying_at_each_step_loses_nothing_and_repeats_nothing(
    kind: str, make_service: Callable[[str], Any], chance: random.Random
) -> None:
    service = make_service(kind)
    others = [point for point in FAIL_POINTS if point not in FIRST]
    for number, point in enumerate(FIRST + chance.sample(others, len(others)), start=1):
        if point in AFTER_A_RUN:
            service.die_at("run.after_call")
        nth = f":{chance.randint(1, 30)}" if point.startswith("writer.") else ""
        service.die_at(point + nth, *ORDERS.get(point, ()))
        check_nothing_is_lost_or_doubled(service, f"died at {point}{nth}")
        if number % DEATHS_IN_A_ROW == 0:
            service.finish()
            check_all_is_done(service)
    service.finish()
    check_all_is_done(service)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_dying_at_random_moments_loses_nothing_and_repeats_nothing(
    kind: str, part: int, make_service: Callable[[str], Any], chance: random.Random
) -> None:
    service = make_service(kind)
    moments = [chance.uniform(0, LONGEST_LIFE) for _ in range(RANDOM_KILLS)][part::PARTS]
    for number, moment in enumerate(moments, start=1):
        service.die_after(moment)
        check_nothing_is_lost_or_doubled(service, f"died after {moment:.3f} s")
        if number % DEATHS_IN_A_ROW == 0:
            service.finish()
            check_all_is_done(service)
    service.finish()
    check_all_is_done(service)
    assert interruptions(service), "no death has found a run in progress"


def test_each_fail_point_stands_in_one_place() -> None:
    named = Counter(
        call.args[0].value
        for path in Path(flowstone.__path__[0]).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "failpoint"
        if isinstance(call.args[0], ast.Constant)
    )
    assert named == dict.fromkeys(FAIL_POINTS, 1)


def select_from(url: str, *queries: str) -> list[list[tuple[Any, ...]]]:
    """What a connection of its own reads, one list of rows for each query."""
    if url.startswith("sqlite:///"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(url)
    try:
        return [connection.execute(query).fetchall() for query in queries]
    finally:
        connection.close()


def check_nothing_is_lost_or_doubled(service: Any, death: str) -> None:
    """What holds at any time, whoever died when."""
    try:
        [steps] = select_from(service.url, "select number from schema_version")
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        steps = []
    if len(steps) < len(migrations()):
        assert not any(service.pushed.values()), death
        return
    settled, pushes, asks, runs, items, ticks, events, paid, backfills = select_from(
        service.url,
        f"select eval_key from evaluation where status in {SETTLED} group by eval_key having count(*) > 1",
        f"select eval_key from evaluation where trigger = 'push' and status in {SETTLED}",
        "select run_key from run where source_kind = 'manual'",
        "select source_name, partition from run where source_name <> 'pulse' or source_name is null",
        "select partition from outbox",
        "select schedule, scheduled_for, run_id from tick",
        "select event_id from event_log where event_type = 'order'",
        "select resource from audit where event_type = 'paid'",
        "select backfill_id from backfill",
    )
    assert settled == [], death
    assert {name for name, known in service.pushed.items() if known} <= {key[0].rpartition(":")[2] for key in pushes}
    assert {name for name, known in service.asked.items() if known} <= {key for [key] in asks}, death
    assert {name for name, known in service.emitted.items() if known} <= {id for [id] in events}, death
    assert {name for name, known in service.filled.items() if known} <= {id for [id] in backfills}, death
    for doubled in (runs, items, paid, [tick[:2] for tick in ticks], [tick[2:] for tick in ticks if tick[2]]):
        assert [one for one, count in Counter(doubled).items() if count > 1] == [], death


def check_all_is_done(service: Any) -> None:
    """What holds once all is done."""
    check_nothing_is_lost_or_doubled(service, "finished")
    check_sources(service)
    check_runs(service)
    check_approvals_and_lineage(service)
    check_events(service)
    check_backfills(service)
    for schedule in ("beat", "pulse"):
        check_ticks(service, schedule)


def check_sources(service: Any) -> None:
    """Each item, push and request has its run, and each item its delivery."""
    runs, outbox, [[cursor]] = select_from(
        service.url,
        "select source_kind, source_name, partition from run where source_kind <> 'schedule'",
        "select id, partition, status from outbox",
        "select cursor from sensor where name = 'items'",
    )
    items = [f"item-{number}" for number in range(service.items)]
    assert sorted(partition for _, name, partition in runs if name == "items") == sorted(items)
    assert sorted(partition for _, name, partition in runs if name == "messages") == sorted(service.pushed)
    assert sorted(partition for kind, _, partition in runs if kind == "manual") == sorted(service.asked)
    assert sorted(partition for _, partition, _ in outbox) == sorted(items)
    assert {status for _, _, status in outbox} == {"delivered"}
    delivered = {(words[1], words[2]) for words in calls(service) if words[0] == "delivered"}
    assert delivered == {(str(id), partition) for id, partition, _ in outbox}
    assert parsed(cursor)["state"] == {"seen": service.items}


def interruptions(service: Any) -> list[tuple[str, list[str]]]:
    """Each recorded interruption: of which run, and of which of its assets."""
    [rows] = select_from(service.url, "select resource, details from audit where event_type = 'run.interrupted'")
    return [(resource.removeprefix("run:"), list(parsed(details)["attempts"])) for resource, details in rows]


def check_runs(service: Any) -> None:
    """Each run has one success of each asset, whose value is there; functions were called as often as is recorded."""
    runs, assets, approved = select_from(
        service.url,
        "select run_id, status, interruptions from run",
        "select run_id, asset, partition, status, failures, stored from materialization",
        "select run_id, asset from approval where status = 'approved'",
    )
    answers = Counter(approved)
    assert {status for _, status, _ in runs} == {"success"}
    assert {status for _, asset, _, status, _, _ in assets if asset != "pulse"} == {"success"}
    assert {status for _, _, _, status, _, _ in assets} <= {"success", "skipped"}
    interrupted = interruptions(service)
    assert Counter(run_id for run_id, _ in interrupted) == {run_id: count for run_id, _, count in runs if count}
    again = Counter((run_id, asset) for run_id, attempted in interrupted for asset in attempted)
    made = Counter((words[1], words[0]) for words in calls(service) if words[0] != "delivered")
    for run_id, asset, partition, status, failures, stored in assets:
        recorded = failures + int(status == "success") + answers[run_id, asset]
        assert recorded <= made[run_id, asset] <= recorded + again[run_id, asset], (run_id, asset)
        assert (stored is not None) == (status == "success")
        if stored is not None:
            check_value(service.folder / "values", StoredValue(**parsed(stored)), asset, decode_partition(partition))


def check_value(root: Path, stored: StoredValue, asset: str, partition: Any) -> None:
    """A value is where its row says, byte for byte what its function gave, and the row tells its size and version."""
    by_whom = "timeout" if str(partition).startswith("late") else "people"
    made = {"raw": str(partition), "report": f"report of {partition}", "beat": str(partition), "gate": by_whom}
    content = (root / stored.location).read_bytes()
    assert content == pickle.dumps(made.get(asset), pickle.HIGHEST_PROTOCOL), (asset, partition)
    assert (stored.bytes, stored.data_version) == (len(content), content_version(content))


def check_approvals_and_lineage(service: Any) -> None:
    """Each question was asked once and decided once, by whom it was for; each report names what it was made from."""
    approvals, decisions, edges, made = select_from(
        service.url,
        "select approval_id, partition, status, decided_by from approval",
        "select resource from audit where event_type like 'approval.%' and event_type <> 'approval.requested'",
        "select run_id, upstream_asset, upstream_run_id from lineage_edge where asset = 'report'",
        "select run_id from materialization where asset = 'report' and status = 'success'",
    )
    gates = [name for name in service.asked if name.startswith(("gate", "late"))]
    assert sorted(partition for _, partition, _, _ in approvals) == sorted(gates)
    by_whom = {"gate": "people", "late": "timeout"}
    assert {(status, by) for _, name, status, by in approvals if by != by_whom[name[:4]]} == set()
    assert {status for _, _, status, _ in approvals} == {"approved"}
    assert sorted(name for [name] in decisions) == sorted(f"approval:{identifier}" for identifier, *_ in approvals)
    assert sorted((run, name) for run, name, _ in edges) == sorted((run, n) for [run] in made for n in ("raw", "side"))
    assert {run for run, *_ in edges} <= {run for *_, run in edges}


def check_events(service: Any) -> None:
    """Each event was handled once in effect: one run, one event that follows, one row of the handler's own."""
    orders, follow, paid, runs, open_ones, letters, queued = select_from(
        service.url,
        "select event_id from event_log where event_type = 'order'",
        "select event_id from event_log where event_type = 'paid'",
        "select resource from audit where event_type = 'paid'",
        "select run_key from run where source_kind = 'connector'",
        "select event_id from event_log where event_id not in ("
        "select event_id from event_attempt where result in ('handled', 'missed'))",
        "select id from dead_letter",
        "select msg_id from queue_message",
    )
    emitted = sorted(service.emitted)
    assert sorted(id for [id] in orders) == sorted(name for [name] in paid) == emitted
    assert sorted(id for [id] in follow) == sorted(f"{id}:0" for id in emitted)
    assert sorted(key for [key] in runs) == sorted(f"event:{id}" for id in emitted)
    assert (open_ones, letters, queued) == ([], [], [])


def check_backfills(service: Any) -> None:
    """Each backfill was made, each of its partitions by one run of its own."""
    backfills, partitions, runs = select_from(
        service.url,
        "select backfill_id, status from backfill",
        "select run_id, backfill_id, partition, status from backfill_partition",
        "select run_id from run where source_kind = 'backfill'",
    )
    assert sorted(backfills) == [(name, "success") for name in sorted(service.filled)]
    wanted = sorted((name, f"{name}-{letter}") for name in service.filled for letter in "ab")
    assert sorted((name, partition) for _, name, partition, _ in partitions) == wanted
    assert {status for *_, status in partitions} == {"success"}
    assert sorted(run_id for run_id, *_ in partitions) == sorted(run_id for [run_id] in runs)


def check_ticks(service: Any, schedule: str) -> None:
    """Each second is in the account once, and each tick that fired has one run of its own."""
    [[created, until]], ticks, runs = select_from(
        service.url,
        f"select created_at, accounted_until from schedule where name = '{schedule}'",
        f"select tick_id, count, status, run_id from tick where schedule = '{schedule}'",
        f"select run_id from run where source_kind = 'schedule' and source_name = '{schedule}'",
    )
    accounted = [second for identifier, count, _, _ in ticks for second in seconds_of(identifier, count)]
    assert sorted(accounted) == list(range(math.floor(epoch(created)) + 1, math.floor(epoch(until)) + 1))
    assert sorted(run_id for *_, run_id in ticks if run_id) == sorted(run_id for [run_id] in runs)
    assert all((status == "triggered") == bool(run_id) for _, _, status, run_id in ticks)
    assert schedule == "pulse" or {status for _, _, status, _ in ticks} <= {"triggered", "skipped"}


def seconds_of(identifier: str, count: int) -> Iterable[int]:
    """The seconds for which a tick accounts."""
    first, _, last = identifier.partition(":")[2].partition("..")
    seconds = range(int(first), int(last or first) + 1)
    assert len(seconds) == count
    return seconds


def epoch(value: Any) -> float:
    """An instant of either database."""
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).timestamp()


def parsed(value: Any) -> Any:
    """JSON of either database."""
    return json.loads(value) if isinstance(value, str) else value


def calls(service: Any) -> list[list[str]]:
    """The calls that really happened, as words."""
    return [line.split() for line in (service.folder / "calls").read_text().splitlines()]
