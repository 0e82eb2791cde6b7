"""Drawings of a graph: whole, readable, and safe to put into a page."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.core.drawing import COLOURS, as_mermaid, as_svg, as_text
from flowstone.core.graph import Graph
from flowstone.core.layout import lay_out
from flowstone.errors import AssetNotFound, CycleError

SVG = "{http://www.w3.org/2000/svg}"
SHOP = Graph({"raw": (), "rates": (), "clean": ("raw",), "report": ("clean", "rates"), "mail": ("report", "raw")})


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(0, 30))
    names = [f"asset_{number}" * draw(st.sampled_from([1, 1, 1, 5])) for number in range(count)]
    needs = {}
    for number, name in enumerate(names):
        chosen = draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        needs[name] = tuple(names[place] for place in chosen)
    return Graph(needs)


def boxes(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """The left, top, right and bottom of each asset's box."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if "data-asset" in group.attrib:
            rect = group.find(f"{SVG}rect")
            assert rect is not None
            x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            found[group.attrib["data-asset"]] = (x, y, x + width, y + height)
    return found


@pytest.mark.property
@settings(max_examples=40)
@given(graphs())
def test_each_asset_has_a_box_right_of_what_it_depends_on_and_no_two_overlap(graph: Graph) -> None:
    svg = as_svg(graph)
    found = boxes(svg)
    assert set(found) == set(graph.order())
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    places = list(found.values())
    assert all(0 <= left and 0 <= top and right <= width and bottom <= height for left, top, right, bottom in places)
    for place, (left, top, right, bottom) in enumerate(places):
        for other in places[place + 1:]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
    for asset in found:
        for name in graph.dependencies(asset):
            assert found[name][2] < found[asset][0]
    lines = [element for element in root.iter(f"{SVG}path") if "marker-end" in element.attrib]
    assert len(lines) == sum(len(graph.dependencies(asset)) for asset in found)


@pytest.mark.property
@settings(max_examples=40)
@given(graphs())
def test_text_and_mermaid_name_each_asset_and_each_dependency(graph: Graph) -> None:
    lines = [line.strip("│├└─ ") for line in as_text(graph).splitlines()]
    order = graph.order()
    assert sorted(line for line in lines if not line.endswith("…")) == sorted(order)
    assert len(lines) == sum(max(1, len(graph.dependencies(asset))) for asset in order)
    mermaid = as_mermaid(graph)
    assert mermaid.count("-->") == sum(len(graph.dependencies(asset)) for asset in order)
    assert all(f'["{asset}"]' in mermaid for asset in order)


@pytest.mark.property
@settings(max_examples=40)
@given(graphs())
def test_lines_lead_through_each_layer_between_their_ends(graph: Graph) -> None:
    layout = lay_out({asset: graph.dependencies(asset) for asset in graph.order()})
    for (name, asset), line in layout.lines.items():
        assert line[0] == layout.assets[name] and line[-1] == layout.assets[asset]
        assert [spot.layer for spot in line] == list(range(line[0].layer, line[-1].layer + 1))


def test_crossings_that_need_not_be_are_not_drawn() -> None:
    needs = {"a": (), "b": (), "c": (), "z": ("a",), "y": ("b",), "x": ("c",), "w": ("c",)}
    found = lay_out(dict(sorted(needs.items(), key=lambda item: (bool(item[1]), item[0]))))
    rows = [[found.assets[name].row for name in pair] for pair in (("a", "b", "c"), ("z", "y", "x"))]
    assert [sorted(range(3), key=row.__getitem__) for row in rows] in ([[0, 1, 2]] * 2, [[2, 1, 0]] * 2)


def test_a_status_colours_its_asset_in_each_form() -> None:
    statuses = {"raw": "fresh", "report": "stale", "mail": "of its own <kind> \"&\""}
    svg, mermaid, text = (draw(SHOP, statuses=statuses) for draw in (as_svg, as_mermaid, as_text))
    assert COLOURS["stale"][0] in svg and COLOURS["failed"][0] not in svg
    assert "of its own <kind> \"&\"" in {element.text for element in ElementTree.fromstring(svg).iter()}
    assert "classDef fresh" in mermaid and "n3[\"report<br/>stale\"]:::stale" in mermaid
    assert re.search(r"#lt;kind#gt; #quot;&#quot;", mermaid)
    assert "raw  [fresh]" in text and "report  [stale]" in text


def test_the_tree_repeats_a_name_and_not_what_is_below_it() -> None:
    assert as_text(SHOP).splitlines() == [
        "raw", "├── clean", "│   └── report", "│       └── mail", "└── mail …", "rates", "└── report …",
    ]  # fmt: skip


def test_some_of_the_assets_are_drawn_alone() -> None:
    assert as_text(SHOP, assets=["report", "clean"]) == "clean\n└── report"
    assert set(boxes(as_svg(SHOP, assets=["report", "clean"]))) == {"clean", "report"}
    assert as_mermaid(SHOP, assets=["clean", "mail"]).count("-->") == 0


def test_nothing_is_drawn_as_nothing() -> None:
    empty = Graph({})
    assert as_text(empty) == "" and as_mermaid(empty) == "flowchart LR" and boxes(as_svg(empty)) == {}


@pytest.mark.parametrize("draw", [as_text, as_mermaid, as_svg])
def test_what_has_no_order_cannot_be_drawn(draw: Any) -> None:
    with pytest.raises(CycleError):
        draw(Graph({"a": ("b",), "b": ("a",)}))
    with pytest.raises(AssetNotFound):
        draw(SHOP, assets=["rw"])


def test_a_chain_of_thousands_is_drawn() -> None:
    chain = Graph({f"a{number}": (f"a{number - 1}",) if number else () for number in range(2_000)})
    assert len(as_text(chain).splitlines()) == 2_000
    assert as_svg(chain).count("data-asset") == 2_000
