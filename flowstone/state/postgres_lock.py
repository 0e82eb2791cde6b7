"""The locks of a runtime on a schema of PostgreSQL, which the server takes back with the session that has them.

All runtimes share one, so that a client can find out whether there is any, and keep one from beginning while it writes
what a runtime would. A runtime's writer has a second one by itself, named after its token: whoever can take that knows
that the connection has ended. The name of a session is `flowstone PID@HOST#TOKEN`.
"""

import os
import re
import socket
from typing import Any

from psycopg.errors import LockNotAvailable

from flowstone.errors import StoreLocked
from flowstone.state.fields import instant_text
from flowstone.state.postgres_exchange import Exchange

__all__ = ["ALONE", "OUTLAW", "PATIENCE", "PRESENCE", "RUNTIME", "TURN", "name_of", "take_lock"]

PATIENCE = 10.0
"""Seconds to wait for a client that writes the definitions of its pipelines, which takes a moment."""

RUNTIME = "hashtextextended('flowstone runtime ' || current_schema(), 0)"
PRESENCE = "hashtextextended('flowstone session ' || :session, 0)"

ALONE = f"select pg_try_advisory_xact_lock({RUNTIME}) as taken"
"""Whether no runtime has the schema; none takes it until the transaction ends."""

OUTLAW = "select pg_try_advisory_xact_lock(hashtextextended('flowstone boot ' || :boot, 0)) as taken"
"""Whether no transaction of a node is in progress; none begins until the transaction ends."""

TURN = "select pg_try_advisory_xact_lock(hashtextextended('flowstone ' || :name || current_schema(), 0)) as taken"
"""Whether a turn was taken, which one transaction of all has."""

_NAME = re.compile(r"flowstone (\d+)@(.*)#(\w+)")
_TAKE = "select set_config('lock_timeout', '{patience:.0f}', true); select pg_advisory_lock{shared}({key})"
_HOLDER = """
    select a.pid, a.application_name as name, a.backend_start as since
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and a.datname = current_database()
    and ((l.classid::bigint << 32) | l.objid::bigint) = {key}
"""


def name_of(token: str) -> str:
    """The name of the sessions of this process; names have up to 63 bytes."""
    host = socket.gethostname().encode("ascii", "replace").decode()[:32]
    return f"flowstone {os.getpid()}@{host}#{token}"


def take_lock(exchange: Exchange, token: str, place: str) -> None:
    """Take the locks for the writer of the runtime with this token.

    A session of its own that the server still takes for living, though its connection is lost, is ended.

    Raises:
        StoreLocked: a client of the store, or a runtime of a release that knew one alone, has it; names its process.
    """
    try:
        exchange.command(_TAKE.format(patience=PATIENCE * 1000, shared="_shared", key=RUNTIME))
    except LockNotAvailable:
        raise _locked(place, next(iter(exchange.rows(_HOLDER.format(key=RUNTIME), {})), None)) from None
    own = PRESENCE.replace(":session", f"'{token}'")
    for earlier in exchange.rows(_HOLDER.format(key=own), {}):
        exchange.rows("select pg_terminate_backend(:pid::int, 5000)", {"pid": earlier.pid})
    exchange.command(_TAKE.format(patience=PATIENCE * 1000, shared="", key=own))


def _locked(place: str, holder: Any) -> StoreLocked:
    named = holder and _NAME.fullmatch(holder.name)
    if not named:
        return StoreLocked(f"store {place} is held by another process, which left no name", path=place)
    pid, host, since = int(named[1]), named[2], instant_text(holder.since)
    return StoreLocked(
        f"store {place} is held by process {pid} on {host}, since {since}: stop that one first",
        path=place,
        pid=pid,
        host=host,
        since=since,
    )
