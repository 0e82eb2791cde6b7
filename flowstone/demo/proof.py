"""What the store says after the demo, read by another process: `python -m flowstone.demo.proof STORE FOLDER`.

Prints one JSON document. Every number in it comes from the store, over a connection that this process opened, or from
the names of the files in the folder.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowstone.demo.pipeline import PATTERN
from flowstone.demo.place import Place
from flowstone.io import StoredValue
from flowstone.io.base import IOContext
from flowstone.io.files import FilesIO
from flowstone.state.connection import Connection
from flowstone.state.database import Database
from flowstone.state.fields import json_value

__all__ = ["prove"]

DAYS = """
    select substr(partition, 3) as day, count(distinct run_id) as runs, sum(status = 'success') as successes,
           sum(attempt) as attempts
    from materialization where asset = 'day' group by partition
"""
RUNS = """
    select count(*) as runs, coalesce(sum(status in ('queued', 'running')), 0) as unfinished,
           coalesce(sum(status in ('failed', 'cancelled')), 0) as failed,
           coalesce(sum(interruptions), 0) as interruptions
    from run
"""
EVALUATIONS = """
    select coalesce(sum(status = 'triggered'), 0) as polls_triggered, coalesce(sum(request_count), 0) as arrivals
    from evaluation where sensor = 'station'
"""
MONTHS = "select count(distinct partition) as months from materialization where asset = 'month' and status = 'success'"
TICKS = """
    select coalesce(sum(count), 0) as ticks, coalesce(sum(status = 'triggered'), 0) as ticks_triggered,
           coalesce(sum(status = 'suppressed'), 0) as ticks_suppressed,
           coalesce(sum(case when status = 'missed' then count end), 0) as ticks_missed,
           coalesce(cast(round((julianday(max(coalesce(until, scheduled_for))) - julianday(min(scheduled_for))) * 86400)
                    as integer) + 1, 0) as seconds
    from tick where schedule = 'each_second' and not manual
"""
RESTARTS = """
    select audit.at, audit.resource, audit.details, run.asset, run.partition
    from audit left join run on audit.resource = 'run:' || run.run_id
    where event_type in ('actor.restarted', 'run.interrupted') order by audit.id
"""
FAILURES = "select * from run where status in ('failed', 'cancelled') order by id limit 5"
REPORT = "select stored from materialization where asset = 'report' and status = 'success' order by id desc limit 1"


def prove(place: Place) -> dict[str, Any]:
    """The proof: `claims` with what each says and if it `holds`, `restarts`, the first `failures`, the `report`."""
    days = {path.stem for path in place.folder.glob(PATTERN)}
    with Database.open(place.store, exclusive=False) as database:
        counts = {**database.read(lambda connection: _days(connection, days)), **database.read(_counts)}
        restarts, failures = database.read(_restarts), database.read(_failures)
        stored = database.read(lambda connection: connection.execute(REPORT))
    report = _value(place, json_value(stored[0].stored)) if stored else None
    claims = [{"text": text, "holds": holds} for text, holds in _claims(counts, report)]
    return {
        "holds": all(claim["holds"] for claim in claims),
        "claims": claims,
        "counts": counts,
        "restarts": restarts,
        "failures": failures,
        "report": report,
        "process": {"pid": os.getpid(), "parent": os.getppid()},
    }


def _value(place: Place, stored: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = FilesIO(place.values).load(IOContext(asset="report"), StoredValue(**stored))
    return value


def _days(connection: Connection, days: set[str]) -> dict[str, int]:
    made = {row.day: row for row in connection.execute(DAYS)}
    known = [made[day] for day in days if day in made]
    return {
        "files": len(days),
        "days": len(made),
        "one_run": sum(row.runs == 1 for row in known),
        "one_success": sum(row.successes == 1 for row in known),
        "day_runs": sum(row.runs for row in made.values()),
        "attempts": sum(row.attempts for row in made.values()),
    }


def _counts(connection: Connection) -> dict[str, int]:
    runs, evaluations, months, ticks = (
        dict(connection.execute(sql)[0]) for sql in (RUNS, EVALUATIONS, MONTHS, TICKS)
    )
    return {**runs, **evaluations, **months, **ticks}


def _claims(counts: dict[str, int], report: dict[str, Any] | None) -> list[tuple[str, bool]]:
    files, days, months, ticks = counts["files"], counts["days"], counts["months"], counts["ticks"]
    in_report = report["days"] if report else 0
    # A file of the user's own that was changed has arrived once more: its day then has as many runs as it has arrivals.
    again = counts["arrivals"] - files
    return [
        (
            f"{files:,} files, {counts['arrivals']:,} arrivals committed by {counts['polls_triggered']:,} polls",
            counts["arrivals"] == counts["day_runs"] and files == days,
        ),
        (f"{counts['one_run']:,} of {days:,} days have exactly one run", days - counts["one_run"] <= again),
        (
            f"{counts['one_success']:,} of {days:,} days have exactly one successful materialization",
            days - counts["one_success"] <= again,
        ),
        (
            f"{counts['runs']:,} runs in all: {counts['unfinished']} unfinished, {counts['failed']} failed, "
            f"{counts['interruptions']} interrupted and run again",
            not counts["unfinished"] and not counts["failed"],
        ),
        (f"{months} months are summarised; the report counts {in_report:,} days", in_report == days),
        (
            f"{ticks} seconds, each accounted for: {counts['ticks_triggered']} triggered, "
            f"{counts['ticks_suppressed']} suppressed, {counts['ticks_missed']} missed",
            ticks == counts["seconds"],
        ),
    ]


def _restarts(connection: Connection) -> list[dict[str, str]]:
    rows = []
    for row in connection.execute(RESTARTS):
        what, _, name = row.resource.partition(":")
        which = f"{row.asset} {row.partition.rpartition(':')[2]}" if row.asset else name.rpartition("/")[2]
        rows.append({"at": row.at, "what": what, "which": which, "why": str(json_value(row.details)["reason"])})
    return rows


def _failures(connection: Connection) -> list[str]:
    rows = connection.execute(FAILURES)
    return [f"{row.asset} {row.partition.rpartition(':')[2]}: {row.error or row.reason}" for row in rows]


def main(arguments: Sequence[str]) -> None:
    """Prints the proof for a store's URL and the folder that was watched."""
    store, folder = arguments
    print(json.dumps(prove(Place(store, Path(folder)))))


if __name__ == "__main__":
    main(sys.argv[1:])
