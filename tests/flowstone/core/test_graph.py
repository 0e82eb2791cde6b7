"""The graph of assets, and selections of it (semantics 8)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.graph import Graph
from flowstone.core.selection import select
from flowstone.errors import AssetNotFound, CycleError, ValidationError

SHOP = Graph({
    "mail": ("report",), "raw": (), "clean": ("raw",), "report": ("clean", "rates"), "rates": (), "audit": (),
})
TAGS = {"raw": {"team": "data", "tier": 1}, "rates": {"team": "finance"}, "report": {"gold": True}}


@st.composite
def acyclic(draw: Any) -> dict[str, tuple[str, ...]]:
    names = [f"a{n}" for n in range(draw(st.integers(0, 12)))]
    edges = {name: tuple(draw(st.lists(st.sampled_from(names[:n]), max_size=4)) if n else ())
             for n, name in enumerate(names)}
    return {name: edges[name] for name in draw(st.permutations(names))}


any_graph = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3).map(tuple))


@pytest.mark.property
@given(acyclic())
def test_each_asset_comes_after_what_it_depends_on(dependencies: dict[str, tuple[str, ...]]) -> None:
    order = Graph(dependencies).order()
    assert sorted(order) == sorted(dependencies)
    assert all(order.index(upper) < order.index(asset) for asset, names in dependencies.items() for upper in names)


@pytest.mark.property
@given(acyclic())
def test_upstream_and_downstream_mirror_each_other_and_are_closed(dependencies: dict[str, tuple[str, ...]]) -> None:
    graph = Graph(dependencies)
    order = graph.order()
    for asset in order:
        upper = graph.upstream(asset)
        assert list(upper) == sorted(upper, key=order.index)
        assert all(asset in graph.downstream(name) for name in upper)
        direct = graph.dependencies(asset)
        assert set(upper) == {*direct, *(name for near in direct for name in graph.upstream(near))}


@pytest.mark.property
@given(any_graph)
def test_a_graph_has_an_order_or_a_circle_that_is_really_there(dependencies: dict[str, tuple[str, ...]]) -> None:
    graph = Graph(dependencies)
    cycles = list(graph.cycles())
    if not cycles:
        assert len(graph.order()) == len(dependencies)
        return
    with pytest.raises(CycleError) as refused:
        graph.order()
    assert refused.value.path == cycles[0]
    for path in cycles:
        assert path[0] == path[-1]
        assert all(lower in dependencies[upper] for upper, lower in zip(path, path[1:], strict=False))
    members = [name for path in cycles for name in path[:-1]]
    assert len(members) == len(set(members))


def test_the_order_is_that_of_definition_where_dependencies_leave_it_open() -> None:
    assert SHOP.order() == ("raw", "clean", "rates", "report", "mail", "audit")
    assert Graph({"b": (), "a": (), "c": ()}).order() == ("b", "a", "c")


def test_every_separate_circle_is_found() -> None:
    graph = Graph({"a": ("b",), "b": ("a",), "x": ("x",), "c": ("a", "x"), "d": ()})
    assert list(graph.cycles()) == [("a", "b", "a"), ("x", "x")]
    with pytest.raises(CycleError, match="a -> b -> a"):
        graph.upstream("c")


def test_an_unknown_asset_gets_a_suggestion_and_an_unknown_dependency_is_left_out() -> None:
    with pytest.raises(AssetNotFound, match="did you mean 'report'"):
        SHOP.upstream("reprot")
    with pytest.raises(AssetNotFound):
        SHOP.downstream("x")
    graph = Graph({"a": ("nowhere",)})
    assert graph.upstream("a") == ()
    assert "a" in graph
    assert "nowhere" not in graph


def test_a_deep_graph_needs_no_recursion() -> None:
    chain = Graph({f"a{n}": (f"a{n - 1}",) if n else () for n in range(5000)})
    assert len(chain.upstream("a4999")) == 4999
    assert len(chain.downstream("a0")) == 4999


@pytest.mark.parametrize(
    ("text", "assets"),
    [
        ("clean", ("clean",)), ("+clean", ("raw", "clean")), ("clean+", ("clean", "report", "mail")),
        ("+report+", ("raw", "clean", "rates", "report", "mail")), ("*", SHOP.order()), ("tag:team", ("raw", "rates")),
        ("tag:team=finance", ("rates",)), ("tag:tier=1", ("raw",)), ("tag:gold", ("report",)),
        ("+tag:gold", ("raw", "clean", "rates", "report")), ("mail raw", ("raw", "mail")),
        ("mail,raw, mail", ("raw", "mail")), ("  audit\n", ("audit",)), ("tag:gold audit", ("report", "audit")),
    ],
)
def test_a_selection_names_assets_in_the_order_of_the_graph(text: str, assets: tuple[str, ...]) -> None:
    assert select(SHOP, TAGS, text) == assets


def test_a_selection_never_pulls_in_downstream_by_itself() -> None:
    assert "mail" not in select(SHOP, TAGS, "+report")


@pytest.mark.parametrize(
    ("text", "hint"),
    [("reprot", "did you mean 'report'"), ("+reprot", "'report'"), ("tag:teem", "did you mean 'team'"),
     ("tag:team=finanse", "did you mean 'team=finance'"), ("raw+ nowhere", "'nowhere' not found")],
)
def test_an_unknown_name_or_tag_is_refused_with_a_suggestion(text: str, hint: str) -> None:
    with pytest.raises(AssetNotFound) as refused:
        select(SHOP, TAGS, text)
    assert hint in str(refused.value)


@pytest.mark.parametrize("text", ["", "  ", ",", "+", "++", "raw, +", "tag:", "+tag:", None, 3])
def test_a_selection_that_names_nothing_is_refused(text: Any) -> None:
    with pytest.raises(ValidationError, match="expected a selection"):
        select(SHOP, TAGS, text)
