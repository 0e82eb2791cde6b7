"""Which node has which duty: everybody computes the same, somebody has each, and little moves."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.state.assignment import SCHEDULER, Cluster, Node, deliveries_of, owners, polls_of
from flowstone.state.membership import Membership

NOW = datetime(2025, 1, 15, tzinfo=UTC)
DUTIES = [SCHEDULER, deliveries_of("files"), *(polls_of(f"s{number}") for number in range(20))]


def node(number: int, offers: frozenset[str] = frozenset(DUTIES), *, settled: int = 0) -> Node:
    return Node(number, f"boot-{number}", "vm", 1, "vm", None, NOW, NOW, settled, offers)


nodes = st.lists(
    st.builds(node, st.integers(1, 99), st.frozensets(st.sampled_from(DUTIES))), unique_by=lambda node: node.number
)


@pytest.mark.property
@settings(max_examples=60)
@given(nodes, st.randoms())
def test_each_duty_is_of_one_node_that_offers_it_whoever_computes_it(living: list[Node], chance) -> None:
    found = owners(living)
    chance.shuffle(living)
    assert owners(living) == found
    offers = {node.boot: node.offers for node in living}
    assert found.keys() == {duty for node in living for duty in node.offers}
    assert all(duty in offers[boot] for duty, boot in found.items())


@pytest.mark.property
@settings(max_examples=60)
@given(nodes.filter(bool), st.data())
def test_when_a_node_ends_only_what_it_had_moves(living: list[Node], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(living))
    before, after = owners(living), owners([node for node in living if node is not gone])
    assert all(after[duty] == boot for duty, boot in before.items() if boot != gone.boot)


@pytest.mark.property
@settings(max_examples=60)
@given(nodes, st.frozensets(st.sampled_from(DUTIES)))
def test_when_a_node_comes_it_takes_polls_alone_and_nothing_moves_between_the_others(
    living: list[Node], offers: frozenset[str]
) -> None:
    before, after = owners(living), owners([*living, node(100, offers)])
    moved = {duty for duty, boot in before.items() if after[duty] != boot}
    assert all(after[duty] == "boot-100" and duty.startswith(polls_of("")) for duty in moved)


def test_polls_are_spread() -> None:
    duties = frozenset(polls_of(f"s{number}") for number in range(1000))
    found = owners([node(number, duties) for number in range(1, 5)])
    shares = [list(found.values()).count(f"boot-{number}") for number in range(1, 5)]
    assert min(shares) > 200


def cluster(epoch: int, *living: Node) -> Cluster:
    return Cluster(epoch, living, owners(living))


def test_what_is_ours_begins_when_nobody_does_any_more_what_is_anothers() -> None:
    ours = Membership("boot-2", shared=True)
    ours.take(cluster(2, node(1, settled=1), node(2, settled=2)))
    assert not any(ours.has(duty) for duty in DUTIES)
    assert ours.take(cluster(2, node(1, settled=2), node(2, settled=2)))
    assert any(ours.has(duty) for duty in DUTIES)
    assert not ours.has(SCHEDULER)


def test_what_is_anothers_stops_at_once_and_what_is_kept_goes_on() -> None:
    ours = Membership("boot-1", shared=True)
    ours.take(cluster(1, node(1, settled=1)))
    assert all(ours.has(duty) for duty in DUTIES)
    ours.take(cluster(2, node(1, settled=1), node(2, settled=2)))
    kept = {duty for duty in DUTIES if ours.has(duty)}
    assert SCHEDULER in kept
    assert kept < set(DUTIES)
    ours.take(cluster(2, node(1, settled=2), node(2, settled=2)))
    assert {duty for duty in DUTIES if ours.has(duty)} == kept


def test_a_boot_that_was_lost_has_no_duties_and_the_next_one_none_before_it_has_joined() -> None:
    ours = Membership("boot-1", shared=True, fresh_id=lambda: "boot-2")
    ours.take(cluster(1, node(1, settled=1)))
    ours.lose("nothing was heard of it")
    assert not ours.has(SCHEDULER)
    ours.renew()
    ours.joined(NOW)
    ours.take(cluster(3, node(2, settled=3)))
    assert ours.has(SCHEDULER)
    assert (ours.boot, ours.lost, ours.joined_again) == ("boot-2", None, (NOW, "nothing was heard of it"))


def test_on_a_store_of_one_runtime_every_duty_is_ours() -> None:
    assert all(Membership("boot").has(duty) for duty in DUTIES)
