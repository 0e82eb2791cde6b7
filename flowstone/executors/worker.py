"""The life of a worker process: one job after the other, until the pipe from its parent closes.

A thread of its own reads the pipe, so that a worker whose parent is gone ends in the middle of a job too, with all
processes of its group. The functions run in the main thread. One that rests ends as programs do, and so does one whose
standard streams a function has closed: the next one would write into whatever file took their place.

What a function forks is not the worker: it has nothing to say to the parent, and ends where the function would return.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import os
import pickle
import signal
import sys
from _queue import SimpleQueue
from _thread import start_new_thread
from contextlib import suppress
from typing import Any, NoReturn

from actors.raw import Lock
from flowstone.core.asset import Asset, call_passing
from flowstone.executors.frames import Closed, read_frame, write_frame
from flowstone.executors.origin import loads
from flowstone.executors.parcel import Begun, Job, Logged, Raised, Returned, packed_error

__all__ = ["live"]


class _Line:
    """The two pipes of a worker; `busy` says that it has a job in hand."""

    def __init__(self, requests: int, answers: int) -> None:
        self.jobs: SimpleQueue[bytes | None] = SimpleQueue()
        self.busy = False
        self._requests, self._answers, self._parent, self._pid = requests, answers, os.getppid(), os.getpid()
        self._writing = Lock()

    @property
    def is_forked(self) -> bool:
        """Whether this process is one that a function has forked."""
        return os.getpid() != self._pid

    def listen(self) -> None:
        """Pass jobs on until the parent closes the pipe, or is gone whoever else holds it."""
        try:
            while True:
                frame = read_frame(self._requests, lambda: os.getppid() != self._parent)
                self.busy = True
                self.jobs.put(frame)
        except Closed:
            if self.busy:
                os.killpg(os.getpgrp(), signal.SIGKILL)
        except OSError:
            # A function has closed what is not its own: the parent has noticed, or will at the answer.
            self.busy = False
        self.jobs.put(None)

    def tell(self, message: object) -> None:
        """Send a message to the parent."""
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        with self._writing:
            write_frame(self._answers, data)

    def answer(self, message: Returned | Raised) -> None:
        """Send what became of the job; what can't be sent is told instead."""
        try:
            data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            kind = type(message.value).__name__ if isinstance(message, Returned) else "exception"
            advice = "return plain data, or leave out process=True"
            text = f"its value ({kind}) can't be sent back from a worker process: {error}; {advice}"
            data = pickle.dumps(Raised(None, text, text))
        self.busy = False
        with self._writing:
            write_frame(self._answers, data)


class _Forwarding(logging.Handler):
    """Sends each log record to the parent, which has the handlers."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line
        self._format = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        if self._line.is_forked:
            # The pipe is its worker's: what two processes write into it at once is nothing that anybody can read.
            if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
                logging.lastResort.handle(record)
            return
        values = {**record.__dict__, "msg": record.getMessage(), "args": None}
        if record.exc_info:
            values["exc_text"] = record.exc_text or self._format.formatException(record.exc_info)
            values["exc_info"] = None
        try:
            self._line.tell(Logged(values))
        except Closed:
            return
        except Exception:
            plain = {name: value for name, value in values.items() if isinstance(value, str | int | float | None)}
            with suppress(Closed):
                self._line.tell(Logged(plain))


def live(requests: int, answers: int) -> NoReturn:
    """Serve jobs from one descriptor, answer on the other; ends the process when the pipe from the parent is closed."""
    os.set_inheritable(requests, False)
    os.set_inheritable(answers, False)
    line, streams = _Line(requests, answers), _open_streams()
    logging.getLogger().addHandler(_Forwarding(line))
    # No object of `threading`: the user's main module may let gevent patch that later.
    start_new_thread(line.listen, ())
    while (frame := line.jobs.get()) is not None:
        message = _served(frame, line)
        del frame
        if line.is_forked:
            _leave_forked(message)
        with suppress(Closed):
            line.answer(message)
        del message
        if _open_streams() != streams:
            break
    _leave()


def _served(frame: bytes, line: _Line) -> Returned | Raised:
    """What becomes of one job. Whatever comes out of user code is an answer: SystemExit and KeyboardInterrupt too."""
    try:
        job: Job = pickle.loads(frame)
        _settle_in(job)
        found = job.origin.find() if job.origin is not None else None
        found = found.fn if isinstance(found, Asset) else found
        fn, context, dependencies = loads(job.body, job.main)
        line.tell(Begun())
        called: Any = found if fn is None else fn
        return Returned(_result(call_passing(called, job.passes, context, dependencies)))
    except BaseException as error:  # noqa: B036 - see above
        return packed_error(error)


def _leave() -> NoReturn:
    """End as a program does, without waiting for the threads of the user's: nobody waits for their work."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(0)


def _leave_forked(message: Returned | Raised) -> NoReturn:
    """End a process that a function has forked, in which it came back as in the worker itself."""
    with suppress(Exception):
        if isinstance(message, Raised):
            sys.stderr.write(message.trace)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    os._exit(int(isinstance(message, Raised)))


def _open_streams() -> list[int]:
    """Which of the descriptors of the standard streams are open."""
    found = []
    for descriptor in range(3):
        with suppress(OSError):
            os.fstat(descriptor)
            found.append(descriptor)
    return found


def _settle_in(job: Job) -> None:
    """Make this process resemble the parent, as far as imports and relative paths go."""
    sys.path[:] = job.path
    sys.argv[:] = job.argv
    if job.directory is not None:
        with suppress(OSError):
            os.chdir(job.directory)
    logging.getLogger().setLevel(job.level)
    if job.needs_main:
        job.main.load()


def _result(value: Any) -> Any:
    return asyncio.run(value) if inspect.iscoroutine(value) else value
