"""What commands print: JSON documents and tables to stdout, errors to stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from rich.console import Console
from rich.table import Table

__all__ = ["print_error", "print_json", "print_table"]


def print_json(document: object) -> None:
    """Prints one JSON document to stdout; dates and instants as ISO text, anything else that JSON lacks as its text."""
    print(json.dumps(document, default=_as_json, ensure_ascii=False, indent=2), flush=True)


def _as_json(value: object) -> object:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)


def print_error(kind: str, message: str, *, as_json: bool, usage: str | None = None) -> None:
    """Prints an error for people to stderr and, when JSON was asked for, as a document to stdout."""
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
    if usage:
        print(usage, file=sys.stderr)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table to stdout; colours only on a terminal."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
