"""`flowstone db`: the store's tables, and how long its history is kept; works beside a service that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from actors import RealClock
from flowstone import durations
from flowstone.assembly import io_managers_of
from flowstone.cli.loading import require_store
from flowstone.cli.options import DURATION
from flowstone.cli.output import print_json, print_table
from flowstone.cli.settings import Group, settings_of
from flowstone.config import FOREVER
from flowstone.errors import ConfigError
from flowstone.pruning import histories_of
from flowstone.state.database import Database
from flowstone.state.inspection import StoreView, inspect
from flowstone.state.retention import BATCH, Age, History, prune

__all__ = ["db"]


@click.group(cls=Group)
def db() -> None:
    """Migrate, look at and prune the store."""


@db.command()
@click.pass_context
def migrate(context: click.Context) -> None:
    """Bring the store's tables up to date; makes a store where there is none."""
    settings = settings_of(context)
    url = settings.config.store
    before = inspect(url)
    Database.open(url, exclusive=False).close()
    after = inspect(url)
    applied = [name for name in after.applied if name not in before.applied]
    if settings.json:
        print_json({"url": after.url, "applied": applied, "status": after.status})
    else:
        click.echo(f"{after.url}: {', '.join(applied) or 'nothing to apply'}; {after.status}")


@db.command()
@click.pass_context
def status(context: click.Context) -> int:
    """Show which steps the tables have seen, what is in them, and who serves them."""
    settings = settings_of(context)
    view = inspect(settings.config.store)
    if settings.json:
        print_json(_document(view))
    else:
        _show(view)
    return int(view.status not in ("up to date", "to be migrated"))


@db.command("prune")
@click.option("--older-than", type=DURATION, metavar="AGE", help="Such as 30d; by default the setting `retention`.")
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@click.option("--batch", type=click.IntRange(min=1), default=BATCH, show_default=True, help="Rows of a transaction.")
@click.pass_context
def prune_(context: click.Context, older_than: float | None, dry_run: bool, batch: int) -> None:
    """Remove old history: ticks, evaluations, deliveries, conflicts and finished runs with superseded values.

    What a live dedupe, a cursor or an unfinished run needs stays, and so do the newest values and the audit.
    """
    settings = settings_of(context)
    config = settings.config
    require_store(config.store)
    managers, _default = io_managers_of(config.store, {}, None, stores_values=False)
    histories = histories_of(managers)
    keep = config.retention if older_than is None else older_than
    if keep == FOREVER:
        raise ConfigError(f"history is kept for ever ({config.source('retention')}): say what may go with --older-than")
    with Database.open(config.store, exclusive=False) as database:
        age = Age.of(database, RealClock().now(), keep)
        if dry_run:
            counts = {each.what: _count(database, each.prunable, age) for each in histories}
        else:
            with _bars(database, histories, age, batch) as tell:
                counts = prune(database, histories, age, batch=batch, progress=tell)
    if settings.json:
        print_json({"older_than": keep, "before": age.before, "dry_run": dry_run, "removed": counts})
    else:
        title = f"{'would go' if dry_run else 'removed'}: older than {durations.text(keep)}"
        print_table(title, ("what", "rows"), counts.items())


@contextmanager
def _bars(
    database: Database, histories: Sequence[History], age: Age, batch: int
) -> Iterator[Callable[[str, int], object] | None]:
    """What takes note of the progress: a bar for each history, where a person looks and there is more than a batch."""
    console = Console(stderr=True)
    totals = {each.what: _count(database, each.aged, age) for each in histories} if console.is_terminal else {}
    if sum(totals.values()) <= batch:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        tasks = {what: progress.add_task(what, total=total) for what, total in totals.items()}
        yield lambda what, looked: progress.advance(tasks[what], looked)


def _count(database: Database, count: Callable[..., int], age: Age) -> int:
    return database.read(lambda connection: count(connection, age))


def _document(view: StoreView) -> dict[str, object]:
    nodes = [{"name": n.name, "pid": n.pid, "host": n.host, "heartbeat_at": n.heartbeat_at} for n in view.nodes]
    return {
        "url": view.url,
        "kind": view.kind,
        "status": view.status,
        "applied": view.applied,
        "pending": view.pending,
        "bytes": view.bytes,
        "rows": view.rows,
        "nodes": nodes,
    }


def _show(view: StoreView) -> None:
    size = None if view.bytes is None else f"{view.bytes / 1e6:.1f} MB"
    steps = {"applied": ", ".join(view.applied), "pending": ", ".join(view.pending)}
    print_table(None, None, {"store": view.url, "status": view.status, **steps, "size": size}.items())
    if view.rows:
        print_table("tables", ("table", "rows"), view.rows.items())
    if view.nodes:
        rows = ((node.name, node.pid, node.started_at, node.heartbeat_at) for node in view.nodes)
        print_table("nodes", ("node", "pid", "started", "last heard of"), rows)
