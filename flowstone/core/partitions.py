"""Partitions and their stored form: a tagged string that gives the same value of the same type back.

| value | stored |
|---|---|
| None | the empty string |
| date | `d:2025-01-15` |
| aware datetime | `dt:2025-01-15T02:00:00Z`, the instant in UTC |
| naive datetime | `ndt:2025-01-15T02:00:00` |
| int, bool | `i:42`, `b:true` |
| tuple | `t:` and base64url of compact JSON |
| str | itself when that reads back as the same str, else `s:` and base64url of its UTF-8 |

A key with a tag is read strictly, as it would be written. Untagged dates, datetimes and `a|b|c` are
read as older releases wrote them.
"""

import base64
import json
import re
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias, Union

from flowstone.errors import PartitionError

__all__ = ["Partition", "decode_partition", "encode_partition", "partition_text"]

Partition: TypeAlias = Union[None, str, int, bool, date, datetime, "tuple[Partition, ...]"]

_TAGGED = re.compile(r"([a-z]+):")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
# Hours end at 23 here because later Pythons read 24:00 as the next day: a stored key means the same everywhere.
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_DEEPEST = 200  # tuples in tuples: far from the interpreter's own limit of recursion, which depends on the caller
_LONG_DIGITS = 4000  # from 4,300 digits on, int and str refuse to convert into each other
_LONG_NUMBER = 10**_LONG_DIGITS  # takes 30 µs to compute


def encode_partition(partition: object) -> str:
    """The stored form of a partition.

    Raises:
        PartitionError: its type is not exactly one of None, str, int, bool, date, datetime and tuple, it holds a lone
            surrogate, or it is an instant that in UTC leaves the years 1 to 9999.

    >>> encode_partition(date(2025, 1, 15)), encode_partition("a:b"), encode_partition("eu-west")
    ('d:2025-01-15', 's:YTpi', 'eu-west')
    """
    if partition is None:
        return ""
    kind = type(partition)
    if kind is str:
        return _encode_text(str(partition))
    if kind is tuple:
        return f"t:{_base64(_array(partition, 0))}"
    encode = _SCALARS.get(kind)
    if encode is None:
        _refuse_type(kind)
    tag, text = encode(partition)
    return f"{tag}:{text}"


def decode_partition(key: str) -> Partition:
    """The partition of a stored form.

    Raises:
        PartitionError: the key is damaged; the message shows its first 80 characters.

    >>> decode_partition("d:2025-01-15"), decode_partition("eu|2025-01-15")
    (datetime.date(2025, 1, 15), ('eu', datetime.date(2025, 1, 15)))
    """
    if not isinstance(key, str):
        raise PartitionError(f"expected a partition key to be text, got: {_type_name(type(key))}")
    if not key:
        return None
    tagged = _TAGGED.match(key)
    if tagged is None:
        return _read_untagged(key)
    try:
        partition = _READERS[tagged[1]](key[tagged.end():])
        written = f"s:{_base64(partition)}" if isinstance(partition, str) else encode_partition(partition)
    except (KeyError, ValueError, OverflowError, RecursionError, PartitionError) as error:
        raise _damaged(key) from error
    if written != key:
        raise _damaged(key)
    return partition


def partition_text(partition: Partition) -> str:
    """A partition as messages show it: the stored form, but of a tuple its parts, since base64 tells people nothing.

    Raises:
        PartitionError: it is no legal one.

    >>> partition_text(date(2025, 1, 15)), partition_text((date(2025, 1, 15), "eu"))
    ('d:2025-01-15', '2025-01-15|eu')
    """
    encoded = encode_partition(partition)
    if type(partition) is not tuple:
        return encoded
    return "|".join(part if type(part) is str else partition_text(part).removeprefix("d:") for part in partition)


def _encode_text(text: str) -> str:
    try:
        plain = decode_partition(text) == text
    except PartitionError:
        plain = False
    return text if plain else f"s:{_base64(text)}"


def _base64(text: str) -> str:
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise PartitionError("expected a partition to be Unicode text, got a lone surrogate") from error
    return base64.urlsafe_b64encode(encoded).rstrip(b"=").decode()


def _instant(moment: datetime) -> str:
    try:
        utc = moment.astimezone(timezone.utc)
    except OverflowError as error:
        raise PartitionError(f"expected an instant to be in the years 1 to 9999 in UTC, got: {moment!r}") from error
    return f"{utc.replace(tzinfo=None).isoformat()}Z"


def _tagged_datetime(moment: datetime) -> tuple[str, str]:
    if moment.utcoffset() is None:
        return "ndt", moment.replace(tzinfo=None).isoformat()
    return "dt", _instant(moment)


def _digits(number: int) -> str:
    return str(number) if abs(number) < _LONG_NUMBER else f"{Decimal(number):f}"


_SCALARS: dict[type, Callable[[Any], tuple[str, str]]] = {
    bool: lambda flag: ("b", "true" if flag else "false"),
    date: lambda day: ("d", day.isoformat()),
    datetime: _tagged_datetime,
    int: lambda number: ("i", _digits(number)),
}
_TYPED = '{"_type":"%s","v":%s}'
_JSON_TYPES = {"d": "date", "dt": "datetime", "ndt": "naive_datetime"}


def _array(elements: Any, depth: int) -> str:
    if depth > _DEEPEST:
        raise PartitionError(f"expected tuples to nest at most {_DEEPEST} deep")
    return f"[{','.join([_element(element, depth) for element in elements])}]"


def _element(element: Any, depth: int) -> str:
    kind = type(element)
    if element is None:
        return "null"
    if kind is str:
        return json.dumps(element, ensure_ascii=False)
    if kind is tuple:
        return _TYPED % ("tuple", _array(element, depth + 1))
    encode = _SCALARS.get(kind)
    if encode is None:
        _refuse_type(kind)
    tag, text = encode(element)
    return _TYPED % (_JSON_TYPES[tag], json.dumps(text)) if tag in _JSON_TYPES else text


def _read_untagged(key: str) -> Partition:
    # PostgreSQL's text holds no NUL, so that texts with one are kept as base64 and none is stored as it is.
    if "\0" in key or not _is_unicode(key):
        raise _damaged(key)
    if "|" in key:
        return tuple(decode_partition(part) for part in key.split("|"))
    looks = _ISO.fullmatch(key)
    if looks is None:
        return key
    try:
        return _read_datetime(key) if looks[2] else date.fromisoformat(key)
    except (ValueError, OverflowError):
        return key


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_datetime(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)


def _read_integer(digits: str) -> int:
    if not _INTEGER.fullmatch(digits):
        raise ValueError("not an integer")
    return int(digits) if len(digits) < _LONG_DIGITS else int(Decimal(digits))


def _read_base64(encoded: str) -> str:
    return base64.urlsafe_b64decode(encoded.encode("ascii") + b"=" * (-len(encoded) % 4)).decode()


def _read_tuple(encoded: str) -> Partition:
    elements = json.loads(_read_base64(encoded), parse_int=_read_integer)
    return _from_json({"_type": "tuple", "v": elements})


def _from_json(element: Any) -> Partition:
    match element:
        case {"_type": "tuple", "v": [*elements]}:
            return tuple([_from_json(inner) for inner in elements])
        case {"_type": "date", "v": str(text)}:
            return date.fromisoformat(text)
        case {"_type": "datetime" | "naive_datetime", "v": str(text)}:
            return _read_datetime(text)
        case None | str() | bool() | int():
            return element
    raise ValueError("not an element of a tuple")


_READERS: dict[str, Callable[[str], Partition]] = {
    "b": {"true": True, "false": False}.__getitem__,
    "d": date.fromisoformat,
    "dt": _read_datetime,
    "i": _read_integer,
    "ndt": _read_datetime,
    "s": _read_base64,
    "t": _read_tuple,
}


def _damaged(key: str) -> PartitionError:
    return PartitionError(
        f"expected a partition key as encode_partition writes it, got: {key[:80]!r}", key=key[:80]
    )


def _refuse_type(kind: type) -> NoReturn:
    raise PartitionError(
        f"expected a partition of exactly None, str, int, bool, date, datetime or tuple, got: {_type_name(kind)}"
    )


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
