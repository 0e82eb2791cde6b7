"""Lineage in memory and in the store: equal answers, each node once with its shortest depth."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flowstone.lineage import store
from flowstone.lineage.node import Input, Place
from flowstone.lineage.walk import walk
from flowstone.state.database import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = st.sampled_from("abcdefg")
PLACES = st.tuples(NAMES, st.sampled_from(["", "x", "d:2025-01-15"]))
MADE = st.lists(st.tuples(PLACES, st.lists(PLACES, max_size=4)), max_size=12)


def in_memory(made: list[tuple[Place, list[Place]]], start: Place, depth: int | None, *, up: bool) -> dict[Place, int]:
    """The distances by a plain breadth-first search over what was made last."""
    newest = dict(made)
    edges = [(place, source) for place, sources in newest.items() for source in sources]
    steps: dict[Place, list[Place]] = {}
    for place, source in edges:
        steps.setdefault(*((place, []) if up else (source, []))).append(source if up else place)
    found, waiting = {start: 0}, deque([start])
    while waiting:
        place = waiting.popleft()
        for end in steps.get(place, ()):
            if end not in found:
                found[end] = found[place] + 1
                waiting.append(end)
    return {place: steps for place, steps in found.items() if steps and (depth is None or steps <= depth)}


@pytest.fixture(params=["memory", "postgresql"])
def database(request: pytest.FixtureRequest, make_store_url: Callable[[str], str]) -> Iterator[Database]:
    with Database.open(make_store_url(request.param)) as opened:
        yield opened


@pytest.mark.property
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MADE, PLACES, st.none() | st.integers(1, 4))
def test_store_and_memory_give_equal_answers(database: Database, made: Any, start: Place, depth: int | None) -> None:
    def write(connection: Any) -> None:
        for table in ("lineage_edge", "lineage_link"):
            connection.execute(f"delete from {table}")
        for number, ((asset, partition), sources) in enumerate(made):
            inputs = [Input(*source, f"run_{number}", "1") for source in sources]
            store.record(connection, f"run_{number}", asset, partition, inputs)

    database.transact(write)
    for up, query in ((True, store.upstream), (False, store.downstream)):
        found = database.read(lambda connection, query=query: query(connection, start, depth))
        assert dict(found) == in_memory(made, start, depth, up=up)
        assert len(dict(found)) == len(found)
        assert found == sorted(found, key=lambda node: (node[1], node[0]))


@given(st.dictionaries(PLACES, st.lists(PLACES, max_size=4), max_size=12), PLACES)
def test_a_walk_ends_on_circles_and_looks_at_each_place_once(edges: dict[Place, list[Place]], start: Place) -> None:
    looked: list[Place] = []

    def neighbours(level: Any) -> Iterator[Place]:
        for place in level:
            looked.append(place)
            yield from edges.get(place, ())

    found = dict(walk(start, neighbours))
    assert len(looked) == len(set(looked))
    assert start not in found
    assert found == in_memory(list(edges.items()), start, None, up=True)


def test_the_same_edge_is_written_once(database: Database) -> None:
    read = [Input("raw", "", "run_a", "1"), Input("raw", "", "run_a", "1")]
    for _ in range(2):
        database.transact(lambda connection: store.record(connection, "run_b", "report", "", read))
    assert database.read(lambda connection: store.inputs_of(connection, "run_b", "report")) == tuple(read[:1])


def test_links_follow_what_was_made_last_and_edges_keep_what_was_read(database: Database) -> None:
    for run, source in (("run_a", "old"), ("run_b", "new")):
        database.transact(lambda connection, run=run, source=source: store.record(
            connection, run, "report", "", [Input(source, "", None, None)]
        ))
    assert database.read(lambda connection: store.upstream(connection, ("report", ""))) == [(("new", ""), 1)]
    assert database.read(lambda connection: store.downstream(connection, ("old", ""))) == []
    assert database.read(lambda connection: store.inputs_of(connection, "run_a", "report")) == (Input("old", ""),)
    database.transact(lambda connection: store.record(connection, "run_c", "report", "", []))
    assert database.read(lambda connection: store.upstream(connection, ("report", ""))) == []


def test_more_places_than_one_statement_asks_for_are_found(database: Database) -> None:
    count = 2 * store.AT_ONCE + 1
    days = [Input("raw", f"i:{number}", None, None) for number in range(count)]

    def write(connection: Any) -> None:
        store.record(connection, "run_a", "month", "", days)
        for day in days:
            store.record(connection, "run_b", "raw", day.partition, [Input("source", day.partition)])

    database.transact(write)
    found = database.read(lambda connection: store.upstream(connection, ("month", "")))
    assert len(found) == 2 * count
    assert {depth for _, depth in found} == {1, 2}
