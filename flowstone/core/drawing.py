"""Drawings of a graph of assets: as text, as Mermaid and as SVG, with what is known of each asset. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from xml.sax.saxutils import escape, quoteattr

from flowstone.core.graph import Graph
from flowstone.core.layout import Layout, Spot, lay_out

__all__ = ["as_mermaid", "as_svg", "as_text"]

Statuses = Mapping[str, str]

COLOURS: Mapping[str, tuple[str, str]] = {
    "success": ("#e3f5e8", "#2f8f4e"),
    "fresh": ("#e3f5e8", "#2f8f4e"),
    "stale": ("#fff4d6", "#b98900"),
    "failed": ("#fde4e1", "#c0392b"),
    "running": ("#e1efff", "#2b6cb0"),
    "queued": ("#e1efff", "#2b6cb0"),
    "pending": ("#e1efff", "#2b6cb0"),
    "waiting_approval": ("#f0e6fb", "#7d4bb0"),
}
"""What fills the box of an asset with a status, and what it is framed with."""

PLAIN = ("#f6f7f9", "#5b6472")
LONGEST = 36
"""Characters of a name that a box shows; the whole stands in its title."""

CHARACTER, PADDING, HEIGHT, PITCH, GAP, MARGIN = 7.4, 14.0, 36.0, 54.0, 56.0, 16.0


def as_text(graph: Graph, *, assets: Iterable[str] | None = None, statuses: Statuses | None = None) -> str:
    """The graph as a tree: below each asset what depends on it; what was shown before is named again with `…`.

    >>> print(as_text(Graph({"raw": (), "clean": ("raw",), "rates": (), "report": ("clean", "rates")})))
    raw
    └── clean
        └── report
    rates
    └── report …
    """
    needs = _chosen(graph, assets)
    dependents: dict[str, list[str]] = {asset: [] for asset in needs}
    for asset, names in needs.items():
        for name in names:
            dependents[name].append(asset)
    shown: set[str] = set()
    lines: list[str] = []
    # An explicit stack: chains may be longer than the interpreter recurses.
    waiting = [(asset, "", "") for asset, names in reversed(needs.items()) if not names]
    while waiting:
        asset, branch, indent = waiting.pop()
        if asset in shown:
            lines.append(f"{branch}{asset} …")
            continue
        status = f"  [{statuses[asset]}]" if statuses and asset in statuses else ""
        lines.append(f"{branch}{asset}{status}")
        shown.add(asset)
        below = dependents[asset]
        for place in range(len(below) - 1, -1, -1):
            last = place == len(below) - 1
            fork, beside = ("└── ", "    ") if last else ("├── ", "│   ")
            waiting.append((below[place], indent + fork, indent + beside))
    return "\n".join(lines)


def as_mermaid(graph: Graph, *, assets: Iterable[str] | None = None, statuses: Statuses | None = None) -> str:
    """The graph in Mermaid's words, from left to right.

    >>> print(as_mermaid(Graph({"raw": (), "report": ("raw",)}), statuses={"raw": "fresh"}))
    flowchart LR
        n0["raw<br/>fresh"]:::fresh
        n1["report"]
        n0 --> n1
        classDef fresh fill:#e3f5e8,stroke:#2f8f4e
    """
    needs, told = _chosen(graph, assets), statuses or {}
    numbers = {asset: f"n{number}" for number, asset in enumerate(needs)}
    lines = ["flowchart LR"]
    for asset, number in numbers.items():
        status = told.get(asset)
        label = f"{asset}<br/>{_entities(status)}" if status else asset
        known = f":::{status}" if status in COLOURS else ""
        lines.append(f'    {number}["{label}"]{known}')
    lines += [f"    {numbers[name]} --> {numbers[asset]}" for asset, names in needs.items() for name in names]
    for status in sorted({told[asset] for asset in needs if told.get(asset) in COLOURS}):
        fill, stroke = COLOURS[status]
        lines.append(f"    classDef {status} fill:{fill},stroke:{stroke}")
    return "\n".join(lines)


def as_svg(graph: Graph, *, assets: Iterable[str] | None = None, statuses: Statuses | None = None) -> str:
    """The graph as an SVG document, from left to right; a status stands below the asset's name and colours its box.

    >>> as_svg(Graph({"raw": ()})).startswith("<svg ")
    True
    """
    needs, told = _chosen(graph, assets), statuses or {}
    layout = lay_out(needs)
    widths = _widths(layout, told)
    lefts = [MARGIN + before for before in accumulate((width + GAP for width in widths), initial=0.0)]
    rows = [spot.row for line in layout.lines.values() for spot in line] + [s.row for s in layout.assets.values()]
    width = 2 * MARGIN + sum(widths) + GAP * max(0, len(widths) - 1)
    height = 2 * MARGIN + max(rows, default=0.0) * PITCH + HEIGHT
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif" font-size="13">',
        f"<title>{len(needs)} assets and what they depend on</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#8a93a0"/></marker></defs>',
        '<g fill="none" stroke="#8a93a0" stroke-width="1.3">',
        *(_line(spots, lefts, widths) for spots in layout.lines.values()),
        "</g>",
    ]
    for asset, spot in layout.assets.items():
        lines += _box(asset, lefts[spot.layer], MARGIN + spot.row * PITCH, widths[spot.layer], told.get(asset))
    return "\n".join([*lines, "</svg>"])


def _chosen(graph: Graph, assets: Iterable[str] | None) -> dict[str, tuple[str, ...]]:
    """The assets to be drawn, in order, with what each of them depends on among them."""
    names = graph.order() if assets is None else graph.sort(assets)
    kept = set(names)
    return {name: tuple(each for each in graph.dependencies(name) if each in kept) for name in names}


def _widths(layout: Layout, statuses: Statuses) -> list[float]:
    """The width of each layer: that of its longest name or status."""
    longest: dict[int, int] = {}
    for asset, spot in layout.assets.items():
        characters = max(min(len(asset), LONGEST), len(_cut(statuses.get(asset, ""))))
        longest[spot.layer] = max(characters, longest.get(spot.layer, 6))
    return [longest[layer] * CHARACTER + 2 * PADDING for layer in range(len(longest))]


def _line(spots: tuple[Spot, ...], lefts: list[float], widths: list[float]) -> str:
    """A line from the right side of an asset to the left side of another, flat where it passes layers between."""
    steps = list(_stops(spots, lefts, widths))
    (x, y), path = steps[0], f"M{steps[0][0]:.1f} {steps[0][1]:.1f}"
    for to_x, to_y in steps[1:]:
        middle = (x + to_x) / 2
        path += f" C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
        x, y = to_x, to_y
    return f'<path d="{path}" marker-end="url(#end)"/>'


def _stops(spots: tuple[Spot, ...], lefts: list[float], widths: list[float]) -> Iterator[tuple[float, float]]:
    for place, spot in enumerate(spots):
        y = MARGIN + spot.row * PITCH + HEIGHT / 2
        if place > 0:
            yield lefts[spot.layer], y
        if place < len(spots) - 1:
            yield lefts[spot.layer] + widths[spot.layer], y


def _box(asset: str, x: float, y: float, width: float, status: str | None) -> list[str]:
    fill, stroke = COLOURS.get(status or "", PLAIN)
    title = f"{asset}: {status}" if status else asset
    middle = x + width / 2
    lines = [
        f"<g data-asset={quoteattr(asset)}><title>{escape(title)}</title>",
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT:.0f}" rx="6" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.3"/>',
        f'<text x="{middle:.1f}" y="{y + (15 if status else 22.5):.1f}" text-anchor="middle" '
        f'fill="#1d2530">{escape(_cut(asset))}</text>',
    ]
    if status:
        lines.append(
            f'<text x="{middle:.1f}" y="{y + 29:.1f}" text-anchor="middle" font-size="10.5" '
            f'fill="{stroke}">{escape(_cut(status))}</text>'
        )
    return [*lines, "</g>"]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _entities(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
