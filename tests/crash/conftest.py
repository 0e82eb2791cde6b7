"""A service under load that is killed, with an account of what it was asked for and what it acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from select import select

import pytest

PROGRAM = Path(__file__).parent / "programs" / "load.py"
PATIENCE = 20.0
"""Seconds within which a life comes to where it is to die."""

ITEMS, PUSHES = 3, 2


class Service:
    """One life after the other, on one store. `items` is how many the source has."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.items = 0
        self.pushed: dict[str, bool] = {}
        self.asked: dict[str, bool] = {}
        self.emitted: dict[str, bool] = {}
        self.filled: dict[str, bool] = {}
        self.lives = 0
        command = [sys.executable, str(PROGRAM), url, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout.fileno()
        self._rest = b""

    def die_at(self, point: str, *orders: str) -> None:
        """A life that ends at a fail point, after new items, pushes and requests, and the orders given."""
        pid = self._begin(point, *orders)
        assert self._end(pid) == -signal.SIGKILL, f"{point} was never reached"

    def die_after(self, seconds: float) -> None:
        """A life that is killed so long after its birth."""
        pid = self._begin("-")
        # Not a wait for something: the moment of the kill is what is drawn.
        select([], [], [], seconds)
        os.kill(pid, signal.SIGKILL)
        assert self._end(pid) == -signal.SIGKILL

    def finish(self) -> None:
        """A life that does all that is left to do, and ends in order."""
        assert self._end(self._begin("-", "drain")) == 0

    def close(self) -> None:
        """End the process that forks."""
        with self._process as process:
            process.kill()

    def _begin(self, point: str, *orders: str) -> int:
        self.lives += 1
        with (self.folder / "source").open("ab") as source:
            source.write(b"." * ITEMS)
        self.items += ITEMS
        self.pushed |= {f"push-{self.lives}{number}": False for number in range(PUSHES)}
        self.asked |= {f"{kind}-{self.lives}": False for kind in ("ask", "gate", "late")}
        self.emitted |= {f"order-{self.lives}": False}
        self.filled |= {f"fill-{self.lives}": False}
        for order in orders:
            word, *identifier = order.split()
            (self.asked if word == "ask" else self.pushed).update(dict.fromkeys(identifier, False))
        told = [f"push {name}" for name, known in self.pushed.items() if not known]
        told += [f"ask {name}" for name, known in self.asked.items() if not known]
        told += [f"emit {name}" for name, known in self.emitted.items() if not known]
        told += [f"fill {name}" for name, known in self.filled.items() if not known]
        told += [order for order in orders if " " not in order]
        self._orders.write("".join(f"{line}\n" for line in (f"life {point}", *told)).encode())
        self._orders.flush()
        return int(next(self._told("born"))[0])

    def _end(self, pid: int) -> int:
        """The status with which a life ended."""
        try:
            return int(next(self._told("ended"))[0])
        except TimeoutError:
            os.kill(pid, signal.SIGABRT)
            return int(next(self._told("ended"))[0])

    def _told(self, wanted: str) -> Iterator[Sequence[str]]:
        """What follows this word, each time it is said; acknowledgements that come before it are kept."""
        deadline = time.monotonic() + PATIENCE
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if not newline:
                self._rest += self._more(deadline)
                continue
            self._rest = rest
            word, *words = line.decode().split()
            if word == wanted:
                yield words
            elif word in ("pushed", "asked", "emitted", "filled"):
                getattr(self, word)[words[0]] = True

    def _more(self, deadline: float) -> bytes:
        if not select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError
        found = os.read(self._answers, 65536)
        assert found, "the process that forks has ended"
        return found


@pytest.fixture
def make_service(make_store_url: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Gives a service on a new store of a kind: `sqlite` or `postgresql`."""
    made: list[Service] = []

    def make(kind: str) -> Service:
        made.append(Service(make_store_url(kind), tmp_path))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def chance() -> random.Random:
    """What draws the moments of kills; PYTEST_RANDOMLY_SEED draws the same ones again."""
    return random.Random(os.environ.get("PYTEST_RANDOMLY_SEED", "1"))
