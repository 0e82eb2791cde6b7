"""Where a function comes from, for a process that has to import it: module, name, file; and the main module.

A worker imports the main module under the name `__mp_main__`, as Python's own multiprocessing does, and only when it
is needed: a script that starts a runtime has to keep that behind `if __name__ == "__main__":`.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import pickle
import runpy
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from flowstone.core.asset import Asset
from flowstone.errors import ExecutionError, StoreLocked

__all__ = ["MAIN", "MainModule", "Origin", "importing_main", "loads", "origin_of"]

MAIN = "__main__"
ADVICE = "start runtimes behind `if __name__ == \"__main__\":`"
_COPY = "__mp_main__"

_importing: list[str] = []
_imported_mains: list[types.ModuleType] = []


@dataclass(frozen=True, slots=True)
class Origin:
    """A function by its name; the file serves where the module is on nobody's path, as modules of tests are."""

    module: str
    name: str
    file: str | None

    def find(self) -> Any:
        """The function, or the asset that it became, in this process.

        Raises:
            ImportError, AttributeError: it is not there.
        """
        return attrgetter(self.name)(_imported(self.module, self.file))


@dataclass(frozen=True, slots=True)
class MainModule:
    """The main module of a process, by the name of its module or by its file; neither, when it has none."""

    module: str | None
    file: str | None

    @classmethod
    def of_this_process(cls) -> MainModule:
        """What this process was started with."""
        main = sys.modules[MAIN]
        name = getattr(getattr(main, "__spec__", None), "name", None)
        file = getattr(main, "__file__", None)
        return cls(name, None if file is None else str(Path(file).absolute()))

    def load(self) -> None:
        """Import it into this process, once.

        Raises:
            ExecutionError: it starts a runtime while it is imported, on the store of the one that wants it.
            ImportError: it was typed in, not written to a file.
        """
        # Not the module `__mp_main__`: whoever imports multiprocessing makes one.
        if _importing or _imported_mains:
            return
        if self.file is None:
            raise ImportError("the main module has no file: put functions of worker processes into a module")
        copy = types.ModuleType(_COPY)
        sys.modules[_COPY] = copy
        _importing.append(self.file)
        try:
            if self.module is not None:
                content = runpy.run_module(self.module, run_name=_COPY, alter_sys=True)
            else:
                content = runpy.run_path(self.file, run_name=_COPY)
        except BaseException as error:
            sys.modules.pop(_COPY, None)
            if isinstance(error, StoreLocked):
                told = f"{self.file} starts a runtime while a worker process imports it: {ADVICE}"
                raise ExecutionError(told) from error
            raise
        finally:
            _importing.clear()
        copy.__dict__.update(content)
        sys.modules[_COPY] = sys.modules[MAIN] = copy
        _imported_mains.append(copy)


def importing_main() -> str | None:
    """The file of the main module, while this worker process imports it."""
    return _importing[0] if _importing else None


def origin_of(fn: Callable[..., Any]) -> Origin | None:
    """Where other processes find this function; None when its module does not hold it under its name."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    holder = sys.modules.get(module)
    try:
        found = attrgetter(name)(holder)
    except AttributeError:
        return None
    if found is not fn and not (isinstance(found, Asset) and found.fn is fn):
        return None
    return Origin(MAIN if module == _COPY else module, name, getattr(holder, "__file__", None))


def loads(data: bytes, main: MainModule | None = None) -> Any:
    """Unpickle what another process of the same program has pickled; `main` is where its main module is found."""
    return _Unpickler(io.BytesIO(data), main).load()


class _Unpickler(pickle.Unpickler):
    """Knows the main module of either process under both of its names."""

    def __init__(self, file: io.BytesIO, main: MainModule | None) -> None:
        super().__init__(file)
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        if module in (MAIN, _COPY):
            module = MAIN
            if self._main is not None:
                self._main.load()
        return super().find_class(module, name)


def _imported(module: str, file: str | None) -> types.ModuleType:
    if module == MAIN:
        return sys.modules[MAIN]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if file is None or error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        raise ExecutionError(f"{file} can't be imported as {module}")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[module]
        raise
    return loaded
