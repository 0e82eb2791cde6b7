"""The sensor of a folder: each file that arrives in it, once.

A file counts when it was renamed into place, or when it did not change across a short settle within the poll. What
arrived is known again by relative path, size and modification time, so a file that changes arrives once more.

The kernel sets a file's change time (ctime) whenever it is written or renamed, and nobody can set it back. So the
state is bounded: the newest change time seen, from which each poll looks back a little. Where that would not do, the
whole folder is looked at, and what is known already is dropped by its key:

- the folder is another one than before: it vanished and came back;
- no folder was changed as late as the newest file: the clock was set back, or a file is written to in place.

A folder of the tree that was moved in bears a new change time while its files bear theirs, so a file counts as
changed when a folder above it has been.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from time import sleep
from types import UnionType
from typing import Any

from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.durations import seconds
from flowstone.errors import ValidationError, shown
from flowstone.sensors.sensor import Answer, Arrival, NoTrigger, Sensor, Trigger
from flowstone.sensors.surroundings import ALONE, Surroundings
from flowstone.sensors.watching import FolderWatch

__all__ = ["LOOKBACK", "FileArrival"]

LOOKBACK = 10_000_000_000
"""Nanoseconds: longer than a listing takes, within which files appear behind its back."""

EXISTING = ("trigger", "ignore")

_DAY = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    mtime: int
    ctime: int
    changed: int

    @property
    def key(self) -> str:
        return f"{self.path}:{self.size}:{self.mtime}"

    @property
    def moved_into_place(self) -> bool:
        return self.mtime < self.ctime


@dataclass(frozen=True, slots=True)
class _Listing:
    files: tuple[_File, ...]
    folder: str
    changed: int


@checked_keywords
class FileArrival(Sensor):
    """Triggers once for each file that arrives in the folder `path`, and again when the file changes.

    - `pattern` ("*"): of file names, or of relative paths where it holds a slash; names that begin with a dot are only
      matched by a pattern that does
    - `existing` ("trigger"): what is there when the sensor starts triggers too; "ignore" lets it count as seen
    - `partition` (None): a function of the relative path; the default is the first `YYYY-MM-DD` in it, else the path
    - `recursive` (False): look into folders of the folder too; symbolic links to folders are not followed
    - `watch` (False): poll at once when the kernel tells that the folder changed (extra `watch`); the interval stays
    - `settle` ("50ms"): for which a file that was not renamed into place has to stay as it is

    The payload is `path` (absolute), `size` in bytes and `mtime`, an instant in ISO 8601. A folder that is not there
    is no error.

    Raises:
        ValidationError: an unknown keyword, or a bad option.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pattern: str = "*",
        existing: str = "trigger",
        partition: Callable[[str], Partition] | None = None,
        recursive: bool = False,
        settle: object = "50ms",
        watch: bool = False,
    ) -> None:
        _check(path, "path", "a folder", _is_a(path, str | os.PathLike) and bool(path))
        _check(pattern, "pattern", "a text such as '*.csv'", _is_a(pattern, str) and bool(pattern))
        _check(existing, "existing", "'trigger' or 'ignore'", existing in EXISTING)
        _check(partition, "partition", "callable", partition is None or callable(partition))
        _check(recursive, "recursive", "True or False", _is_a(recursive, bool))
        _check(watch, "watch", "True or False", _is_a(watch, bool))
        self.path = os.path.abspath(os.fsdecode(path))
        self.pattern = pattern
        self.existing = existing
        self.partition = partition
        self.recursive = recursive
        self.settle = seconds(settle, "settle")
        self.watch = watch
        self._watch = FolderWatch(self.path, recursive=recursive)
        self._around: Surroundings = ALONE

    def within(self, surroundings: Surroundings) -> FileArrival:
        """This sensor, able to ask for polls."""
        copied = copy.copy(self)
        copied._around = surroundings
        return copied

    def cleanup(self, state: Any) -> None:
        """Watch no more."""
        self._watch.stop()

    def init(self) -> dict[str, Any]:
        """The state before the first poll; with `existing="ignore"` it marks what is there already."""
        state: dict[str, Any] = {"newest": None, "window": None, "folder": None}
        listing = self._list() if self.existing == "ignore" else None
        if listing is not None and listing.files:
            newest = max(file.ctime for file in listing.files)
            state["ignore"] = {"until": newest, "at": [file.key for file in listing.files if file.ctime == newest]}
        return state

    def poll(self, state: dict[str, Any]) -> Answer:
        """The files that changed since the state; those that are known already are dropped by their keys."""
        if self.watch and self._around is not ALONE:
            # Before the look, so that what comes after it is told.
            self._watch.follow(self._identity(), self._around.wake)
        listing = self._list()
        if listing is None:
            return NoTrigger(reason=f"the folder {self.path} is not there")
        candidates = _candidates(listing, state)
        window = _fingerprint(candidates)
        if window == state["window"] and listing.folder == state["folder"]:
            return NoTrigger()
        settled = self._settled(candidates)
        complete = len(settled) == len(candidates)
        following = {
            "newest": _newest(state, listing, candidates, settled),
            "window": window if complete else None,
            "folder": listing.folder,
        }
        ignored = {file.key for file in listing.files if _is_ignored(file, state.get("ignore"))}
        arrived = [self._arrival(file) for file in settled if file.key not in ignored]
        if not arrived:
            return NoTrigger(state=following, seen=tuple(sorted(ignored)))
        return Trigger(*arrived, state=following, seen=sorted(ignored))

    def _identity(self) -> str | None:
        try:
            root = os.stat(self.path)
        except OSError:
            return None
        return f"{root.st_dev}:{root.st_ino}"

    def _list(self) -> _Listing | None:
        """All files that match, ordered by change time; None when there is no folder."""
        try:
            root = os.stat(self.path)
            scanned = list(self._scan("", 0))
        except FileNotFoundError:
            return None
        files = tuple(sorted((file for file, _ in scanned if file), key=lambda file: (file.ctime, file.path)))
        changed = max([root.st_ctime_ns, *(change for _, change in scanned)])
        return _Listing(files, f"{root.st_dev}:{root.st_ino}", changed)

    def _scan(self, folder: str, changed: int) -> Iterator[tuple[_File | None, int]]:
        """Files below a folder, relative to the root, and for each folder when it was changed."""
        with os.scandir(os.path.join(self.path, folder)) as entries:
            for entry in entries:
                relative = os.path.join(folder, entry.name)
                if self.recursive and entry.is_dir(follow_symlinks=False):
                    yield from self._descend(relative, changed)
                elif self._matches(entry.name, relative):
                    file = self._look(relative, changed)
                    if file is not None:
                        yield file, 0

    def _descend(self, folder: str, changed: int) -> Iterator[tuple[_File | None, int]]:
        # A folder that is moved away while we look has left: so have its files.
        try:
            own = os.stat(os.path.join(self.path, folder)).st_ctime_ns
            yield None, own
            yield from self._scan(folder, max(changed, own))
        except FileNotFoundError:
            return

    def _matches(self, name: str, relative: str) -> bool:
        if "/" in self.pattern:
            return fnmatchcase(relative, self.pattern)
        hidden = name.startswith(".") and not self.pattern.startswith(".")
        return not hidden and fnmatchcase(name, self.pattern)

    def _look(self, relative: str, changed: int) -> _File | None:
        """A file as it is now; None when it has left or is no file."""
        try:
            found = os.stat(os.path.join(self.path, relative))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        ctime = found.st_ctime_ns
        return _File(relative, found.st_size, found.st_mtime_ns, ctime, max(ctime, changed))

    def _settled(self, candidates: Iterable[_File]) -> list[_File]:
        """Those files that nobody is writing to."""
        listed = list(candidates)
        if all(file.moved_into_place for file in listed):
            return listed
        sleep(self.settle)
        return [file for file in listed if file.moved_into_place or self._look(file.path, file.changed) == file]

    def _arrival(self, file: _File) -> Arrival:
        # A name need not be legal text; such bytes are shown escaped, for partitions hold no lone surrogates.
        path = os.fsencode(file.path).decode("utf-8", "backslashreplace")
        partition = _default_partition(path) if self.partition is None else self.partition(path)
        payload = {
            "path": os.path.join(self.path, path),
            "size": file.size,
            "mtime": (_EPOCH + timedelta(microseconds=file.mtime // 1000)).isoformat(),
        }
        return Arrival(partition, key=replace(file, path=path).key, payload=payload)


def _is_a(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, kind)


def _check(value: object, option: str, expected: str, legal: bool) -> None:
    if not legal:
        raise ValidationError(f"expected {option} to be {expected}, got: {shown(value)}", option=option)


def _candidates(listing: _Listing, state: dict[str, Any]) -> list[_File]:
    """The files that may have arrived since the state."""
    newest: int | None = state["newest"]
    if newest is None or listing.folder != state["folder"] or listing.changed < newest - LOOKBACK:
        return list(listing.files)
    return [file for file in listing.files if file.changed >= newest - LOOKBACK]


def _newest(
    state: dict[str, Any], listing: _Listing, candidates: list[_File], settled: list[_File]
) -> int | None:
    """The newest change time up to which all is seen: none of a file that is still written to is passed."""
    known: int | None = state["newest"] if listing.folder == state["folder"] else None
    seen = [file.ctime for file in settled] + ([] if known is None else [known])
    if not seen:
        return None
    moving = set(candidates) - set(settled)
    return min([max(seen), *(file.ctime for file in moving)])


def _is_ignored(file: _File, ignore: dict[str, Any] | None) -> bool:
    if ignore is None:
        return False
    until: int = ignore["until"]
    return file.ctime < until or (file.ctime == until and file.key in ignore["at"])


def _fingerprint(files: Iterable[_File]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.key}:{file.ctime}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _default_partition(path: str) -> str:
    for found in _DAY.findall(path):
        try:
            date.fromisoformat(found)
        except ValueError:
            continue
        return str(found)
    return path
