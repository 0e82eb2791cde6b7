"""The runtime's lock on a schema of PostgreSQL: one holder, named to whoever comes second, free once it is gone.

It is an advisory lock, which the server takes back with the session that has it. Who has it stands in the name of that
session, which is `flowstone PID@HOST#TOKEN`.
"""

import os
import re
import socket
from typing import Any

from psycopg.errors import LockNotAvailable

from flowstone.errors import StoreLocked
from flowstone.state.fields import instant_text
from flowstone.state.postgres_exchange import Exchange

__all__ = ["PATIENCE", "name_of", "take_lock"]

PATIENCE = 1.0
"""Seconds to wait: what a killed runtime held is free once the server has noticed that it is gone."""

_NAME = re.compile(r"flowstone (\d+)@(.*)#(\w+)")
_KEY = "hashtextextended('flowstone runtime ' || current_schema(), 0)"
_TAKE = f"""
    select set_config('lock_timeout', '{PATIENCE * 1000:.0f}', true); select pg_advisory_lock({_KEY})
"""
_HOLDER = f"""
    select a.pid, a.application_name as name, a.backend_start as since
    from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and a.datname = current_database()
    and ((l.classid::bigint << 32) | l.objid::bigint) = {_KEY}
"""


def name_of(token: str) -> str:
    """The name of the sessions of this process; names have up to 63 bytes."""
    host = socket.gethostname().encode("ascii", "replace").decode()[:32]
    return f"flowstone {os.getpid()}@{host}#{token}"


def take_lock(exchange: Exchange, token: str, place: str) -> None:
    """Take the lock for a session of the runtime with this token.

    A session of its own that the server still takes for living, though its connection is lost, is ended.

    Raises:
        StoreLocked: another runtime has it; names its process.
    """
    try:
        exchange.command(_TAKE)
    except LockNotAvailable:
        holder = _holder(exchange)
        if holder is None or not holder.name.endswith(f"#{token}"):
            raise _locked(place, holder) from None
        exchange.rows("select pg_terminate_backend(:pid::int, 5000)", {"pid": holder.pid})
        exchange.command(_TAKE)


def _holder(exchange: Exchange) -> Any:
    return next(iter(exchange.rows(_HOLDER, {})), None)


def _locked(place: str, holder: Any) -> StoreLocked:
    named = holder and _NAME.fullmatch(holder.name)
    if not named:
        return StoreLocked(f"store {place} is held by another runtime, which left no name", path=place)
    pid, host, since = int(named[1]), named[2], instant_text(holder.since)
    return StoreLocked(
        f"store {place} is held by the runtime of process {pid} on {host}, since {since}: "
        "stop that one first, or open the store as a client",
        path=place,
        pid=pid,
        host=host,
        since=since,
    )
