"""The entry point of the command line: the group of all commands, and what an error becomes.

Exit codes: 0 done, 1 failed or not found, 2 bad usage, 70 the root of the supervision tree gave up.
"""

import os
import sys
import traceback
from collections.abc import Sequence

import click

from flowstone.cli.approval import approval
from flowstone.cli.asset import asset
from flowstone.cli.audit import audit
from flowstone.cli.backfill import backfill
from flowstone.cli.check import check
from flowstone.cli.connector import connector
from flowstone.cli.db import db
from flowstone.cli.demo import demo
from flowstone.cli.doctor import doctor
from flowstone.cli.health import health
from flowstone.cli.metrics import metrics
from flowstone.cli.output import print_error
from flowstone.cli.queue import queue
from flowstone.cli.run import run
from flowstone.cli.runs import runs
from flowstone.cli.schedule import schedule
from flowstone.cli.sensor import sensor
from flowstone.cli.settings import Group
from flowstone.cli.tree import tree
from flowstone.cli.web import web
from flowstone.cli.why import why
from flowstone.errors import FlowstoneError

__all__ = ["main"]

FAILED = 1


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flowstone")
def flowstone() -> None:
    """Assets, schedules and sensors under supervised actors, with every step durable."""


for _command in (
    *(demo, run, check, tree, web),
    *(asset, backfill, approval, runs, why),
    *(schedule, sensor, connector, queue),
    *(db, health, metrics, doctor, audit),
):
    flowstone.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code.

    Raises:
        SystemExit: always.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_code_of(given))


def _code_of(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        result = flowstone.main(args=arguments, prog_name="flowstone", standalone_mode=False)
    except click.UsageError as error:
        print_error("usage_error", error.format_message(), as_json=as_json, usage=_usage(error))
        return error.exit_code
    except click.ClickException as error:
        print_error("click_exception", error.format_message(), as_json=as_json)
        return error.exit_code
    except click.Abort:
        print_error("aborted", "aborted", as_json=as_json)
        return FAILED
    except FlowstoneError as error:
        print_error(error.type, str(error), as_json=as_json)
        return FAILED
    except BrokenPipeError:
        return _unheard()
    except OSError as error:
        print_error("os_error", str(error), as_json=as_json)
        return FAILED
    # Any other exception is a fault of ours, or of the user's code: one line with its place, as for every error.
    except Exception as error:
        print_error("internal_error", _told(error), as_json=as_json)
        return FAILED
    return result if isinstance(result, int) else 0


def _unheard() -> int:
    """Whoever read the output has closed it: nothing more is to be said, not even at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _told(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _usage(error: click.UsageError) -> str | None:
    if error.ctx is None:
        return None
    return f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help."
