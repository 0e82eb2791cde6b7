"""Run keys: what caused a run, as text that can't collide, and the run id that follows from it.

A key is computed from its cause alone, so that the same cause leads to the same run wherever it is seen. Names hold
no colon and message ids neither, or stand as their hash; a key that is too long, or that looks as if it carried a
generation (`#1`), ends in its hash.
"""

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterable
from functools import lru_cache

from flowstone.core.partitions import Partition, encode_partition
from flowstone.errors import ValidationError, shown

__all__ = [
    "LONGEST_KEY",
    "backfill_key",
    "bounded",
    "check_user_key",
    "event_key",
    "fingerprint",
    "hand_key",
    "manual_key",
    "manual_tick_id",
    "message_text",
    "poll_key",
    "push_key",
    "retry_key",
    "run_id",
    "schedule_key",
    "tick_id",
]

LONGEST_KEY = 512  # characters

_MEANING = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_GENERATION = re.compile(r"#[0-9]+\Z")
_PLAIN_MESSAGE_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")


def fingerprint(selection: Iterable[str], partitions: Iterable[Partition] = (None,)) -> str:
    """What would run, as 64 hex digits: the same for the same assets and partitions in any order.

    Raises:
        PartitionError: a partition is not legal.

    >>> fingerprint(["b", "a"], ["eu"]) == fingerprint(["a", "b"], ["eu"])
    True
    """
    meaning = {"assets": sorted(set(selection)), "partitions": sorted({encode_partition(p) for p in partitions})}
    return _sha256(_MEANING.encode(meaning))


def run_id(run_key: str, *, namespace: str = "default", secret: str = "", generation: int = 0) -> str:
    """The id of the run of this key: 30 characters, the same wherever it is computed.

    The key is taken as it is stored. `generation` counts how often it was freed by a rewind or by its dedupe
    scope; from 1 on, `run_id(f"{run_key}#{generation}")` is the same.

    Raises:
        ValidationError: the key, the namespace or the secret is no Unicode text.

    >>> run_id("sched:daily_report:1736935200")
    'run_o6rcsruhcmrvjfaoyuf6hgbd2a'
    """
    try:
        return _run_id(run_key, namespace, secret, generation)
    except (AttributeError, TypeError, UnicodeEncodeError) as error:
        raise ValidationError(f"expected a run key, namespace and secret of text, got: {shown(run_key)}") from error


# Whoever writes what a request came from asks for the id first, then the request itself: 14 µs saved of each tick.
@lru_cache(maxsize=4096)
def _run_id(run_key: str, namespace: str, secret: str, generation: int) -> str:
    suffix = f"#{generation}" if generation else ""
    message = f"{namespace}:{run_key}{suffix}".encode()
    digest = hmac.digest(secret.encode(), message, "sha256")
    return f"run_{base64.b32encode(digest[:16]).decode().lower()[:26]}"


def bounded(key: str) -> str:
    """A computed key as it is stored: itself, or its beginning and its hash.

    That is for keys over 512 characters, and for those that end in `#` and digits, as a later generation does.

    >>> bounded("event:7"), len(bounded("event:" + "x" * 1000))
    ('event:7', 512)
    """
    if len(key) <= LONGEST_KEY and not _GENERATION.search(key):
        return key
    return f"{key[:LONGEST_KEY - 65]}:{_sha256(key)}"


def check_user_key(key: object) -> str:
    """The user's own run key, when it is legal.

    Raises:
        ValidationError: it is no text, empty, over 512 characters, or ends in `#` and digits.

    >>> check_user_key("orders-2025-01-15")
    'orders-2025-01-15'
    """
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY:
        raise ValidationError(f"expected a run key to be text of 1 to {LONGEST_KEY} characters, got: {shown(key)}")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in key):
        raise ValidationError(f"expected a run key without NUL and lone surrogates, got: {shown(key)}")
    if _GENERATION.search(key):
        raise ValidationError(
            f"expected a run key not to end in '#' and digits, which mark generations, got: {shown(key)}"
        )
    return key


def message_text(message_id: str) -> str:
    """A message id as keys hold it: itself when it is plain, else `sha256:` and its hash.

    Raises:
        ValidationError: it is no text.

    >>> message_text("order-17")
    'order-17'
    """
    if not isinstance(message_id, str):
        raise ValidationError(f"expected a message id to be text, got: {shown(message_id)}")
    return message_id if _PLAIN_MESSAGE_ID.fullmatch(message_id) else f"sha256:{_sha256(message_id)}"


def tick_id(schedule: str, epoch: int) -> str:
    """The id of the tick of a schedule at an instant in epoch seconds.

    >>> tick_id("daily_report", 1736935200)
    'daily_report:1736935200'
    """
    return f"{schedule}:{epoch}"


def manual_tick_id(schedule: str, ms: int) -> str:
    """The id of a tick made by hand, numbered in epoch milliseconds.

    >>> manual_tick_id("daily_report", 1736935200000)
    'daily_report:manual:1736935200000'
    """
    return f"{schedule}:manual:{ms}"


def schedule_key(schedule: str, epoch: int) -> str:
    """The key of the run of a tick.

    >>> schedule_key("daily_report", 1736935200)
    'sched:daily_report:1736935200'
    """
    return f"sched:{tick_id(schedule, epoch)}"


def manual_key(schedule: str, ms: int) -> str:
    """The key of the run of a tick made by hand.

    >>> manual_key("daily_report", 1736935200000)
    'sched:daily_report:manual:1736935200000'
    """
    return f"sched:{manual_tick_id(schedule, ms)}"


def poll_key(sensor: str, eval_id: str, n: int) -> str:
    """The key of the n-th request of a poll, from 0.

    >>> poll_key("new_files", "ev1", 0)
    'sensor:new_files:ev1:0'
    """
    return bounded(f"sensor:{sensor}:{eval_id}:{n}")


def push_key(sensor: str, message_id: str, n: int = 0) -> str:
    """The key of the n-th request of a pushed message; the first one, 0, bears no number.

    Raises:
        ValidationError: the message id is no text.

    >>> push_key("orders", "order-17"), push_key("orders", "order-17", 1)
    ('sensor:orders:msg:order-17', 'sensor:orders:msg:order-17:1')
    """
    key = f"sensor:{sensor}:msg:{message_text(message_id)}"
    return f"{key}:{n}" if n else key


def backfill_key(backfill_id: str, partition: Partition) -> str:
    """The key of the run of one partition of a backfill.

    Raises:
        PartitionError: the partition is not legal.

    >>> backfill_key("bf1", "eu")
    'backfill:bf1:eu'
    """
    return bounded(f"backfill:{backfill_id}:{encode_partition(partition)}")


def event_key(event_id: str) -> str:
    """The key of the run that a connector's event asks for.

    >>> event_key("42")
    'event:42'
    """
    return bounded(f"event:{event_id}")


def retry_key(run_id: str, n: int) -> str:
    """The key of the n-th retry of a finished run, from 1.

    >>> retry_key("run_a", 1)
    'retry:run_a:1'
    """
    return f"retry:{run_id}:{n}"


def hand_key() -> str:
    """A key for a run asked for by hand: always another one.

    >>> hand_key() == hand_key()
    False
    """
    return f"manual:{uuid.uuid4()}"


def _sha256(text: str) -> str:
    # Ids come from outside, and a hash of any text is better than an error: lone surrogates are hashed as they are.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
