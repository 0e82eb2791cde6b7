"""The command that simulates as many seeds as asked: `python -m flowstone.testing.simulate`."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import track

from flowstone.errors import FlowstoneError, ValidationError
from flowstone.pipeline import Pipeline
from flowstone.testing.simulate.faults import Faults
from flowstone.testing.simulate.result import Result
from flowstone.testing.simulate.shop import shop
from flowstone.testing.simulate.simulation import simulate

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print what was violated; the exit status: 0 when nothing was, 1 when something was, 2: bad input."""
    options = _parser().parse_args(arguments)
    try:
        found = _simulate_all(options)
    except FlowstoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.seeds} seeds of {options.days:g} days: {found or 'none'} violated what must hold")
    return 1 if found else 0


def _simulate_all(options: argparse.Namespace) -> int:
    make, faults, found = _maker(options.app), _faults(options.fault), 0
    console = Console(stderr=True)
    seeds = range(options.seed, options.seed + options.seeds)
    for seed in track(seeds, "simulating", console=console, disable=not console.is_terminal):
        result = simulate(make(), days=options.days, seed=seed, faults=faults, store=options.store)
        if options.log:
            sys.stdout.write(result.log)
        if result.violations:
            found += 1
            print(f"{result}\nagain: {_command(options, result)}", flush=True)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flowstone.testing.simulate",
        description="Run pipelines in virtual time with faults drawn from seeds, and check what must hold.",
    )
    parser.add_argument("app", nargs="?", help="module:pipeline, or a function that makes one; a sample when left out")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--days", type=float, default=30.0, help="days of virtual time for each (30)")
    kinds = ", ".join(Faults.kinds())
    told = f"a rate other than the default; the kinds are {kinds}"
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=RATE", help=told)
    parser.add_argument("--store", default="memory://", help="a PostgreSQL URL, for worlds in schemas of their own")
    parser.add_argument("--log", action="store_true", help="print the whole log of each seed")
    return parser


def _maker(app: str | None) -> Callable[[], Pipeline]:
    """What gives the pipeline for each seed."""
    if app is None:
        return shop
    module, colon, name = app.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise ValidationError(f"expected a pipeline at {app!r}: {error}") from error
    if isinstance(found, Pipeline):
        return lambda: found
    if callable(found):
        made: Callable[[], Pipeline] = found
        return made
    raise ValidationError(f"expected module:pipeline, got: {app!r}")


def _faults(given: Sequence[str]) -> Faults:
    rates: dict[str, float] = {}
    for text in given:
        kind, _, rate = text.partition("=")
        try:
            rates[kind] = float(rate)
        except ValueError:
            raise ValidationError(f"expected a fault like raising=0.1, got: {text!r}") from None
    return Faults(**rates)


def _command(options: argparse.Namespace, result: Result) -> str:
    app = [options.app] if options.app else []
    faults = [f"--fault {text}" for text in options.fault]
    store = [] if options.store == "memory://" else [f"--store {shlex.quote(options.store)}"]
    words = [*app, f"--seed {result.seed}", "--seeds 1", f"--days {result.days:g}", *faults, *store]
    return " ".join(["python -m flowstone.testing.simulate", *words])


if __name__ == "__main__":
    sys.exit(main())
