"""One worker process, as its parent sees it: spawned, never forked; its end is watched by a thread.

It leads a process group of its own, so that whatever it starts ends with it, and a Ctrl-C in the terminal is its
parent's alone to decide about. Its pipes belong to the one thread that has a call in it: no other closes them.

In a process that gevent has patched, its hub waits for any child that ends, and takes the exit status of about every
fourth worker (measured) before its own parent sees it; one that ignores SIGCHLD sees none. There a shell stands
between: it waits for the worker, and writes down how that ended.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from actors.raw import Guard, Lock, close, is_patched, spawn, start_thread, wait_for_end
from flowstone.executors.frames import read_frame, write_frame

__all__ = ["GRACE", "WorkerProcess", "how_it_ended"]

GRACE = 2.0
"""Real seconds that a worker has between SIGTERM, or the end of its pipe, and SIGKILL."""

_PROGRAM = """
import sys
sys.path[:] = {path}
from flowstone.executors.worker import live
live({requests}, {answers})
"""

# The shell survives the SIGTERM that its group gets, says nothing itself, and keeps its report to itself.
_SHELL = ["/bin/sh", "-c", 'trap : TERM; exec 8>&2 2>/dev/null; (exec "$@" 2>&8 8>&- 9>&-); echo $? >&9', "sh"]
_REPORT = 9
_LOWEST = 20

_FAULTS = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "arithmetic fault",
    signal.SIGILL: "illegal instruction",
    signal.SIGSEGV: "segmentation fault",
}


class WorkerProcess:
    """A worker process that has been started; `calls` counts those that it was given.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.ended = False
        self._status: int | None = None
        self._last_signal: int | None = None
        self._gate = Guard()
        self._over = Lock()
        self._over.acquire()
        theirs_in, self._requests = _pipe()
        self._answers, theirs_out = _pipe()
        self._report: int | None = None
        theirs_report: int | None = None
        if is_patched() or signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            self._report, theirs_report = _pipe()
        try:
            self.pid = _spawned(theirs_in, theirs_out, theirs_report)
        except BaseException:
            self.close()
            raise
        finally:
            for descriptor in (theirs_in, theirs_out, theirs_report):
                if descriptor is not None:
                    close(descriptor)
        start_thread(f"{name} watch", self._watch)

    def send(self, data: bytes) -> None:
        """Send a frame.

        Raises:
            Closed: the worker has ended.
        """
        write_frame(self._requests, data)

    def receive(self, meanwhile: Callable[[], None] | None = None) -> bytes:
        """The next frame from the worker; blocks, and calls `meanwhile` several times a second.

        Raises:
            Closed: the worker has ended.
        """

        def gone() -> bool:
            if meanwhile is not None:
                meanwhile()
            return self.ended

        return read_frame(self._answers, gone)

    def close(self) -> None:
        """Close the pipes, which lets an idle worker end by itself."""
        close(self._requests)
        close(self._answers)

    def kill(self) -> None:
        """End the worker and its group: SIGTERM now, SIGKILL when it is still there after `GRACE`; never blocks."""
        self._signal(signal.SIGTERM)
        start_thread(f"{self.name} end", self.force)

    def force(self, patience: float | None = None) -> None:
        """Wait for the end up to `patience` (`GRACE`) real seconds, then SIGKILL; blocks."""
        if not self.wait(GRACE if patience is None else patience):
            self._signal(signal.SIGKILL)

    def wait(self, timeout: float) -> bool:
        """Whether the worker has ended within `timeout` real seconds; blocks."""
        if self._over.acquire(timeout=timeout):
            self._over.release()
            return True
        return False

    def fate(self) -> str:
        """How the worker ended, in words; waits a moment for it."""
        self.wait(GRACE)
        return how_it_ended(self._status) if self.ended else "has closed its pipe"

    def _signal(self, number: int) -> None:
        # Under the gate the process is not yet waited for, so that its number is nobody else's.
        with self._gate:
            if not self.ended:
                self._last_signal = number
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)

    def _watch(self) -> None:
        """Wait for the end, and end what the worker left of its group."""
        try:
            _, status = wait_for_end(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            self._status = None  # somebody else in this program waits for any child
        if self._report is not None:
            self._status = _reported(self._report, self._last_signal)
        with self._gate:
            self.ended = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._over.release()


def how_it_ended(status: int | None) -> str:
    """The exit status of a process in words; negative is a signal.

    >>> how_it_ended(-9)
    'was killed by SIGKILL, as a kernel kills when memory runs out'
    >>> how_it_ended(-11), how_it_ended(3)
    ('had a segmentation fault (SIGSEGV)', 'ended with exit status 3')
    """
    if status is None:
        return "ended, and its exit status was taken by another part of this program"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        number = signal.Signals(-status)
    except ValueError:
        return f"was killed by signal {-status}"
    if number in _FAULTS:
        article = "an" if _FAULTS[number][0] in "aeiou" else "a"
        was = "was aborted" if number is signal.SIGABRT else f"had {article} {_FAULTS[number]}"
        return f"{was} ({number.name})"
    hint = ", as a kernel kills when memory runs out" if number is signal.SIGKILL else ""
    return f"was killed by {number.name}{hint}"


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe, out of the way of the descriptors that have a meaning."""
    ends = os.pipe()
    try:
        reader, writer = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _LOWEST) for end in ends)
    finally:
        for end in ends:
            close(end)
    return reader, writer


def _spawned(requests: int, answers: int, report: int | None) -> int:
    program = _PROGRAM.format(path=sys.path, requests=requests, answers=answers)
    # Descriptors are not inherited, other than those copied here: a copy onto itself stays open in the new program.
    copies = [(os.POSIX_SPAWN_DUP2, requests, requests), (os.POSIX_SPAWN_DUP2, answers, answers)]
    if report is not None:
        copies.append((os.POSIX_SPAWN_DUP2, report, _REPORT))
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing
    command = [*(_SHELL if report is not None else ()), sys.executable, *options, "-c", program]
    return spawn(
        command[0],
        command,
        os.environ,
        file_actions=[*copies, nothing],
        setpgroup=0,
        setsigmask=(),
        setsigdef=(signal.SIGTERM, signal.SIGINT),
    )


def _reported(report: int, last_signal: int | None) -> int | None:
    """What the shell wrote about the worker; it wrote nothing when it was killed together with it."""
    with open(report, "rb") as pipe:
        text = pipe.read().strip()
    if not text:
        return None if last_signal is None else -last_signal
    status = int(text)
    return 128 - status if status > 128 else status
