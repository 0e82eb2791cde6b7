"""How a value becomes bytes and comes back: pickle or JSON."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowstone.errors import IOManagerError, ValidationError, did_you_mean, shown

__all__ = ["FORMATS", "Format", "choice", "refused"]

_NESTED = (dict, list, tuple)


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write values, by its name."""

    name: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]

    def content(self, asset: str, value: Any) -> bytes:
        """A value as bytes.

        Raises:
            IOManagerError: it is nothing that this format can hold; another attempt would not help.
        """
        try:
            return self.write(value)
        except Exception as error:
            raise refused(asset, f"a value that {self.name} can hold", value, error) from error

    def value(self, where: object, content: bytes) -> Any:
        """The value of bytes that were found somewhere.

        Raises:
            IOManagerError: they are no value of this format.
        """
        try:
            return self.read(content)
        except Exception as error:
            message = f"could not load {where}: {type(error).__name__}: {error}"
            raise IOManagerError(message, retryable=False, location=str(where)) from error


def choice(option: str, given: str, known: dict[str, Any]) -> str:
    """What was given for an option, when it is one of the known words.

    Raises:
        ValidationError: it is none of them.
    """
    if given not in known:
        hint = did_you_mean(str(given), known)
        raise ValidationError(f"expected {option} to be one of {', '.join(known)}, got: {shown(given)}{hint}")
    return given


def refused(asset: str, expected: str, value: Any, error: BaseException | str) -> IOManagerError:
    """The error for a value that a manager can't hold."""
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    got = f"got {type(value).__qualname__} ({reason})"
    return IOManagerError(f"could not store {asset}: expected {expected}, {got}", retryable=False, asset=asset)


def _to_json(value: Any) -> bytes:
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    _check_keys(value)
    return content


def _check_keys(value: Any) -> None:
    """Refuse keys other than texts: JSON would make texts of them, and of two keys perhaps one."""
    waiting = [value] if isinstance(value, _NESTED) else []
    while waiting:
        item = waiting.pop()
        for key in item if isinstance(item, dict) else ():
            if not isinstance(key, str):
                raise TypeError(f"keys must be texts, not {shown(key)}; make them texts, or store it as a pickle")
        inner = item.values() if isinstance(item, dict) else item
        waiting.extend(each for each in inner if isinstance(each, _NESTED))


def _to_pickle(value: Any) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


FORMATS: dict[str, Format] = {
    "json": Format("json", _to_json, json.loads),
    "pickle": Format("pickle", _to_pickle, pickle.loads),
}
"""The formats by name."""
