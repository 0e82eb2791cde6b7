"""Files that are there whole or not at all, whenever the process or the machine dies.

The content is written to a part file, synced, and renamed to its name; then the folder is synced. A part file bears
the host and process that write it, so that what a killed process left can be told from what a living one writes.
"""

import contextlib
import os
import socket
import uuid
from pathlib import Path

from flowstone.failpoints import failpoint

__all__ = ["sweep", "write"]

_SUFFIX = ".part"


def write(path: Path, content: bytes, *, parts: Path) -> None:
    """The file holds this content afterwards, synced to disk; `parts` is a folder on the same disk.

    Raises:
        OSError: it could not be written; the file is as it was.
    """
    _make_folder(parts)
    _make_folder(path.parent)
    part = parts / f"{_host()}-{os.getpid()}-{uuid.uuid4().hex}{_SUFFIX}"
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        failpoint("run.before_value_named")
        os.replace(part, path)
        failpoint("run.after_value_named")
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    _sync_folder(path.parent)


def sweep(parts: Path) -> None:
    """Part files that dead processes of this host left are gone afterwards."""
    for part in parts.glob(f"{_host()}-*{_SUFFIX}"):
        pid = part.name.removeprefix(f"{_host()}-").partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            part.unlink(missing_ok=True)


def _host() -> str:
    return "".join(character if character.isalnum() else "_" for character in socket.gethostname())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # of another user
    return True


def _make_folder(folder: Path) -> None:
    # A new folder is an entry of its parent, which has to be synced too; the topmost new one first.
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
