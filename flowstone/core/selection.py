"""Selections: a text that names assets of a graph.

| text | assets |
|---|---|
| `report` | this one |
| `+report` | it and all that it depends on |
| `report+` | it and all that depends on it |
| `tag:team`, `tag:team=data` | those with this tag, or with this tag and value |
| `*` | all |

Several are separated by spaces or commas. `+` goes with a tag too.
"""

import re
from collections.abc import Mapping

from flowstone.core.graph import Graph
from flowstone.errors import AssetNotFound, ValidationError, did_you_mean, shown

__all__ = ["closure", "select"]

_SEPARATORS = re.compile(r"[\s,]+")
_NOTHING = frozenset({"", "tag:"})


def select(graph: Graph, tags: Mapping[str, Mapping[str, object]], text: str) -> tuple[str, ...]:
    """The assets that a text names, each once, in the order of the graph; `tags` are the tags of each asset.

    Raises:
        AssetNotFound: a name or a tag of the text is unknown; the nearest one is suggested.
        ValidationError: the text, or a part of it, names nothing.

    >>> graph = Graph({"raw": (), "report": ("raw",)})
    >>> select(graph, {}, "+report"), select(graph, {"raw": {"team": "data"}}, "tag:team=data")
    (('raw', 'report'), ('raw',))
    """
    return graph.sort(asset for term in _terms(text) for asset in _assets(graph, tags, term))


def closure(text: object) -> str:
    """The selection of all that a text names and depends on.

    Raises:
        ValidationError: the text, or a part of it, names nothing.

    >>> closure("report, +raw")
    '+report,+raw'
    """
    return ",".join(f"+{term.removeprefix('+')}" for term in _terms(text))


def _terms(text: object) -> list[str]:
    terms = [term for term in _SEPARATORS.split(text) if term] if isinstance(text, str) else []
    if not terms or not _NOTHING.isdisjoint(term.strip("+") for term in terms):
        raise ValidationError(f"expected a selection: 'report', '+report', 'tag:team' or '*', got: {shown(text)}")
    return terms


def _assets(graph: Graph, tags: Mapping[str, Mapping[str, object]], term: str) -> set[str]:
    name = term.removeprefix("+").removesuffix("+")
    if name == "*":
        return set(graph.order())
    named = _tagged(graph, tags, name.removeprefix("tag:")) if name.startswith("tag:") else {name}
    chosen = set(named)
    if term.startswith("+"):
        chosen.update(upper for asset in named for upper in graph.upstream(asset))
    if term.endswith("+"):
        chosen.update(lower for asset in named for lower in graph.downstream(asset))
    return chosen


def _tagged(graph: Graph, tags: Mapping[str, Mapping[str, object]], tag: str) -> set[str]:
    key, equals, value = tag.partition("=")
    held = {asset: tags.get(asset, {}) for asset in graph.order()}
    chosen = {asset for asset, own in held.items() if key in own and (not equals or str(own[key]) == value)}
    if not chosen:
        known = {name for own in held.values() for name in own}
        known |= {f"{name}={own[name]}" for own in held.values() for name in own}
        raise AssetNotFound(f"no asset has the tag {tag!r}{did_you_mean(tag, sorted(known))}", name=f"tag:{tag}")
    return chosen
