"""A bucket of any size for `services.py`: a process of its own, which answers ListObjectsV2 from a sorted list."""

import bisect
import hashlib
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

__all__ = ["NEW", "PAGE", "YEAR", "Bucket", "key_of"]

NEW = 100
PAGE = 1000
YEAR = 365.0
DAY = 86_400.0


def key_of(number: int, *, growing: bool) -> str:
    """The key of the object that came as this one; of the same length whether keys grow or are random."""
    told = f"{number:032}" if growing else hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return f"events/{told}"


class Bucket:
    """A bucket in a process of its own, whose objects came evenly over some days."""

    def __init__(self, keys: int, *, growing: bool, days: float) -> None:
        context = get_context("spawn")
        near, far = context.Pipe()
        self._pipe = near
        self._process = context.Process(target=_serve, args=(far, keys, growing, days), daemon=True)
        self._process.start()
        far.close()
        self.url = f"http://127.0.0.1:{near.recv()}"

    def __enter__(self) -> "Bucket":
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.join()

    def add(self) -> None:
        """Put the new objects in."""
        self._pipe.send("add")
        self._pipe.recv()

    def requests(self) -> int:
        """Requests since this was asked last."""
        self._pipe.send("requests")
        return int(self._pipe.recv())


class _Objects:
    """The keys in their order, when each came, and how often they were listed."""

    def __init__(self, count: int, growing: bool, days: float) -> None:
        self._count, self._growing = count, growing
        now, step = time.time(), days * DAY / count
        self._times = {self._key(number): _instant(now - (count - number) * step) for number in range(count)}
        self._keys = sorted(self._times)
        self.requests = 0

    def add(self) -> None:
        now = _instant(time.time())
        for key in map(self._key, range(self._count, self._count + NEW)):
            bisect.insort(self._keys, key)
            self._times[key] = now

    def page(self, after: str) -> bytes:
        """What ListObjectsV2 answers past a key."""
        self.requests += 1
        first = bisect.bisect_right(self._keys, after)
        some = self._keys[first:first + PAGE]
        more = first + PAGE < len(self._keys)
        found = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{self._times[key]}</LastModified>"
            f'<ETag>"{len(key):032x}"</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>'
            for key in some
        )
        token = f"<NextContinuationToken>{quote(some[-1])}</NextContinuationToken>" if more else ""
        head = f"<Name>b</Name><KeyCount>{len(some)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{head}{token}{found}</ListBucketResult>".encode()

    def _key(self, number: int) -> str:
        return key_of(number, growing=self._growing)


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _serve(pipe: Any, count: int, growing: bool, days: float) -> None:
    """The process of the server, until the other end of the pipe is gone."""
    objects = _Objects(count, growing, days)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            body = objects.page(query.get("continuation-token") or query.get("start-after", ""))
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_address[1])
    try:
        while True:
            if pipe.recv() == "add":
                objects.add()
                pipe.send(None)
            else:
                told, objects.requests = objects.requests, 0
                pipe.send(told)
    except EOFError:
        return
