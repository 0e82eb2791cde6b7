"""What commands print: JSON documents and tables to stdout, errors to stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flowstone.core.partitions import partition_text
from flowstone.state.page import Page

__all__ = ["RowKind", "print_error", "print_json", "print_row", "print_rows", "print_table"]

PIPE_WIDTH = 400
"""Columns of a table that no terminal shows: nothing is folded there."""

_STYLES = {
    **dict.fromkeys(("active", "ok", "success", "triggered", "yes", "up to date"), "green"),
    **dict.fromkeys(("failed", "error", "broken", "down", "cancelled"), "red"),
    **dict.fromkeys(("paused", "orphaned", "skipped", "skipped_stale", "missed", "suppressed", "degraded"), "yellow"),
}
# What is copied from a table stays in one piece.
_WHOLE = frozenset({"run id", "eval id", "name", "status"})


@dataclass(frozen=True, slots=True)
class RowKind:
    """How rows of one kind are printed: the attributes of a document, and the columns of a table among them."""

    title: str
    attributes: tuple[str, ...]
    columns: tuple[str, ...]

    def document(self, row: object) -> dict[str, Any]:
        """A row as JSON takes it."""
        return {name: getattr(row, name) for name in self.attributes}


def print_json(document: object) -> None:
    """Prints one JSON document to stdout; dates and instants as ISO text, anything else that JSON lacks as its text."""
    print(json.dumps(document, default=_as_json, ensure_ascii=False, indent=2), flush=True)


def print_rows(rows: Sequence[object], kind: RowKind, *, as_json: bool) -> None:
    """Prints rows as a list or a table; where a page ends before the rows do, says on stderr how to go on."""
    if as_json:
        print_json([kind.document(row) for row in rows])
    else:
        cells = ([_shown(row, column) for column in kind.columns] for row in rows)
        print_table(kind.title, [column.replace("_", " ") for column in kind.columns], cells)
    if isinstance(rows, Page) and rows.next_cursor is not None:
        click.echo(f"there is more: --cursor {rows.next_cursor}", err=True)


def print_row(row: object, kind: RowKind, *, as_json: bool) -> None:
    """Prints one row as a document, or as a line for each attribute that has a value."""
    if as_json:
        print_json(kind.document(row))
    else:
        shown = ((name, _shown(row, name)) for name in kind.attributes)
        told = ((name.replace("_", " "), value) for name, value in shown if value is not None)
        print_table(None, None, told)


def print_error(kind: str, message: str, *, as_json: bool, usage: str | None = None) -> None:
    """Prints an error for people to stderr and, when JSON was asked for, as a document to stdout."""
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
    if usage:
        print(usage, file=sys.stderr)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False)


def print_table(title: str | None, columns: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> None:
    """Prints a table to stdout, without `columns` one that has no header; colours only on a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=columns is not None)
    for column in columns or ():
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        table.add_row(*map(_cell, row))
    console = Console()
    if title is not None:
        console.print(Text(title, style="italic"))
    (console if console.is_terminal else Console(width=PIPE_WIDTH)).print(table)


def _shown(row: object, attribute: str) -> object:
    """What a cell shows of a row; of a partition what `--partition` takes."""
    value = getattr(row, attribute)
    return partition_text(value) if attribute == "partition" and isinstance(value, tuple) else value


def _as_json(value: object) -> object:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else str(value)


def _cell(value: object) -> Text:
    text = _text(value)
    return Text(text, style=_STYLES.get(text, ""))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case float():
            return str(round(value, 6))
        case [*items] if items and all(isinstance(item, str) for item in items):
            return ", ".join(map(str, items))
        case dict() | list() | tuple():
            return json.dumps(value, default=_as_json, ensure_ascii=False) if value else ""
    return str(value)
