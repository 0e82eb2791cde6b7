"""The rows of lineage. Every function works inside a transaction of its caller.

Edges say what each run read, and grow with every run. Links say from what the newest value of a partition was made, one
row however often it was made again: a walk follows links, so that its cost is that of its answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from flowstone.failpoints import failpoint
from flowstone.lineage.node import Input, Place
from flowstone.lineage.walk import walk
from flowstone.state.connection import Connection

__all__ = ["downstream", "inputs_of", "record", "upstream"]

AT_ONCE = 200
"""Places that one statement asks for."""

_EDGE = """
    insert into lineage_edge (
        run_id, asset, partition, upstream_asset, upstream_partition, upstream_run_id, data_version
    ) values (:run_id, :asset, :partition, :upstream_asset, :upstream_partition, :upstream_run_id, :data_version)
    on conflict do nothing
"""
_LINKS = """
    select upstream_asset, upstream_partition from lineage_link where asset = :asset and partition = :partition
"""
_LINK = """
    insert into lineage_link (asset, partition, upstream_asset, upstream_partition)
    values (:asset, :partition, :upstream_asset, :upstream_partition) on conflict do nothing
"""
_UNLINK = """
    delete from lineage_link where asset = :asset and partition = :partition
    and upstream_asset = :upstream_asset and upstream_partition = :upstream_partition
"""
_UNLINK_ALL = "delete from lineage_link where asset = :asset and partition = :partition"
_INPUTS = """
    select upstream_asset, upstream_partition, upstream_run_id, data_version from lineage_edge
    where run_id = :run_id and asset = :asset order by upstream_asset, upstream_partition
"""
_UPSTREAM = """
    select distinct l.upstream_asset as asset, l.upstream_partition as partition
    from (values {keys}) k join lineage_link l on l.asset = k.column1 and l.partition = k.column2
"""
_DOWNSTREAM = """
    select distinct l.asset, l.partition
    from (values {keys}) k join lineage_link l on l.upstream_asset = k.column1 and l.upstream_partition = k.column2
"""


def record(connection: Connection, run_id: str, asset: str, partition: str, inputs: Collection[Input]) -> None:
    """Write from what a run made a partition of an asset (stored form): from this, and nothing else, from now on."""
    made = {"asset": asset, "partition": partition}
    if not inputs:
        connection.change(_UNLINK_ALL, made)
        return
    connection.executemany(_EDGE, [{"run_id": run_id, **made, **_edge(each)} for each in inputs])
    wanted = {(each.asset, each.partition) for each in inputs}
    there = {(row.upstream_asset, row.upstream_partition) for row in connection.execute(_LINKS, made)}
    if there - wanted:
        connection.executemany(_UNLINK, [{**made, **_place(place)} for place in sorted(there - wanted)])
    if wanted - there:
        connection.executemany(_LINK, [{**made, **_place(place)} for place in sorted(wanted - there)])
    failpoint("lineage.before_commit")


def inputs_of(connection: Connection, run_id: str, asset: str) -> tuple[Input, ...]:
    """What a run read to make an asset, by name."""
    rows = connection.execute(_INPUTS, run_id=run_id, asset=asset)
    return tuple(Input(*row) for row in rows)


def upstream(connection: Connection, start: Place, depth: int | None = None) -> list[tuple[Place, int]]:
    """What the newest value of a place was made from, and so on, each with its shortest depth."""
    return list(walk(start, lambda level: _neighbours(connection, _UPSTREAM, level), depth))


def downstream(connection: Connection, start: Place, depth: int | None = None) -> list[tuple[Place, int]]:
    """What was made from a place, and so on, each with its shortest depth."""
    return list(walk(start, lambda level: _neighbours(connection, _DOWNSTREAM, level), depth))


def _neighbours(connection: Connection, sql: str, level: Iterable[Place]) -> Iterator[Place]:
    places = sorted(level)
    for first in range(0, len(places), AT_ONCE):
        some = list(islice(places, first, first + AT_ONCE))
        keys = ", ".join(f"(:a{number}, :p{number})" for number in range(len(some)))
        assets = {f"a{number}": asset for number, (asset, _) in enumerate(some)}
        partitions = {f"p{number}": partition for number, (_, partition) in enumerate(some)}
        for row in connection.execute(sql.format(keys=keys), {**assets, **partitions}):
            yield row.asset, row.partition


def _edge(of: Input) -> dict[str, str | None]:
    place = (of.asset, of.partition)
    return {**_place(place), "upstream_run_id": of.run_id, "data_version": of.data_version}


def _place(place: Place) -> dict[str, str | None]:
    return {"upstream_asset": place[0], "upstream_partition": place[1]}
