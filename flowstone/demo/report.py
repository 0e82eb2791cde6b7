"""How the demo's proof and report look in a terminal; the same picture is exported as SVG."""

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

__all__ = ["bar", "export", "picture", "show"]

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
BAR_WIDTH = 16
EIGHTHS = " ▏▎▍▌▋▊▉█"


def picture(proof: Mapping[str, Any]) -> RenderableType:
    """The whole end of the demo: report, what was restarted and why, and the proof."""
    parts: list[RenderableType] = []
    if proof["report"]:
        parts += [_report(proof["report"]), Text()]
    parts += [_restarts(proof["restarts"]), Text(), _claims(proof)]
    return Group(*parts)


def show(proof: Mapping[str, Any]) -> None:
    """Prints the picture to stdout; colours only on a terminal."""
    Console().print(picture(proof))


def export(proof: Mapping[str, Any], path: Path) -> None:
    """Writes the picture as an SVG file."""
    console = Console(record=True, width=90, file=io.StringIO())
    console.print(picture(proof))
    console.save_svg(str(path), title="flowstone demo")


def _report(report: Mapping[str, Any]) -> RenderableType:
    rows: Sequence[Mapping[str, Any]] = report["normals"]
    warmest = max(row["temp_max"] for row in rows)
    wettest = max(row["precipitation"] for row in rows) or 1
    title = f"The year as it usually is: {report['days']:,} days, {report['months']} months"
    table = Table(title=title, box=None, pad_edge=False)
    table.add_column("")
    table.add_column("low °C", justify="right")
    table.add_column("high °C", justify="right")
    table.add_column("high", style="yellow", min_width=BAR_WIDTH)
    table.add_column("rain mm", justify="right")
    table.add_column("wet days", justify="right")
    table.add_column("rain", style="blue", min_width=BAR_WIDTH)
    for row in rows:
        table.add_row(
            MONTHS[row["month"] - 1],
            f"{row['temp_min']:.1f}",
            f"{row['temp_max']:.1f}",
            bar(row["temp_max"] / warmest),
            f"{row['precipitation']:.0f}",
            f"{row['wet_days']:.1f}",
            bar(row["precipitation"] / wettest),
        )
    return table


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A horizontal bar for a share of 0 to 1, exact to an eighth of a character.

    >>> bar(0.55, 10)
    '█████▌'
    """
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _restarts(restarts: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not restarts:
        return Text("Nothing was restarted.", style="dim")
    table = Table(title="What was restarted, and why (audit rows of the store)", box=None, pad_edge=False)
    for column in ("at", "what", "which", "why"):
        table.add_column(column, overflow="fold")
    for _, alike in groupby(restarts, key=lambda row: (row["what"], row["why"])):
        first, *more = alike
        which = f"{first['which']} and {len(more)} more" if more else first["which"]
        table.add_row(first["at"][11:19], first["what"], which, first["why"])
    return table


def _claims(proof: Mapping[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for claim in proof["claims"]:
        mark = Text("✓", style="bold green") if claim["holds"] else Text("✗", style="bold red")
        table.add_row(mark, claim["text"])
    for failure in proof["failures"]:
        table.add_row("", Text(failure, style="red"))
    reader, demo = proof["process"]["pid"], proof["process"]["parent"]
    where = f"read by process {reader} over a connection of its own; the demo was {demo}"
    return Panel(table, title="Proof from the store", subtitle=where, border_style="green" if proof["holds"] else "red")
