"""Connections that keep a total time limit, and that refuse to go to private addresses.

The timeouts of sockets bound the wait for the next byte, so that a server that drips could hold a thread for ever; here
the whole exchange is ended when its time is up, by shutting the socket down. Where a name leads is checked when the
connection has been made, before anything is sent, so that no later answer of the name service can change it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.client import HTTPResponse, RemoteDisconnected
from ipaddress import ip_address
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["Deadline", "GuardedAdapter", "PrivateAddress"]

_HERE = threading.local()


class PrivateAddress(OSError):
    """The name leads to an address that is not public."""


class Deadline:
    """The time limit of what this thread does within the `with`; `passed` tells that it was enforced."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._watched: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        _HERE.deadline = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _HERE.deadline = None

    def watch(self, connected: socket.socket) -> None:
        """Shut this socket down when the time is up."""
        with self._lock:
            self._watched.append(connected)

    def _expire(self) -> None:
        with self._lock:
            self.passed = True
            for connected in self._watched:
                # The plain shutdown, for that of TLS takes the connection away from the thread that reads it.
                with suppress(OSError):
                    socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _Lines:
    """Reads lines, and keeps the last."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._source.readline(limit)
        return self.last

    def close(self) -> None:
        self._source.close()


class _WholeResponse(HTTPResponse):
    """A response whose headers came to their end: the standard library takes a connection that is cut for it."""

    def begin(self) -> None:
        source: Any = self.fp
        lines: Any = _Lines(source)
        self.fp = lines
        try:
            super().begin()
        finally:
            self.fp = source if self.fp is lines else self.fp
        if lines.last == b"":
            raise RemoteDisconnected("the headers were cut")


class _Watched:
    """What both kinds of connections do."""

    public_only = False
    response_class: Any = _WholeResponse

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        """Begin a request, which the deadline of this thread may end."""
        connection: Any = self
        if connection.sock is None:
            connection.connect()
        # The socket itself: a connection gives it away to an answer that ends with it.
        _HERE.deadline.watch(connection.sock)
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # a mixin before HTTPConnection

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]  # as above
        address = made.getpeername()[0]
        if self.public_only and not ip_address(address.partition("%")[0]).is_global:
            made.close()
            raise PrivateAddress("the name leads to a private address")
        return made


class _Plain(_Watched, HTTPConnection):
    pass


class _Tls(_Watched, HTTPSConnection):
    pass


class _PublicPlain(_Plain):
    public_only = True


class _PublicTls(_Tls):
    public_only = True


def _pools(public_only: bool) -> dict[str, Any]:
    plain, tls = (_PublicPlain, _PublicTls) if public_only else (_Plain, _Tls)
    return {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


class GuardedAdapter(HTTPAdapter):
    """Makes guarded connections; `public_only` refuses those to private addresses."""

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool of connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._public_only)
