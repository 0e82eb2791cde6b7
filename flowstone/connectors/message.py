"""What queues hold, as values: messages, what is known of a queue, and the rules for names and contents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowstone.errors import ValidationError, shown
from flowstone.state.fields import json_text

__all__ = ["LARGEST", "Message", "Metrics", "QueueRow", "check_message", "check_queue"]

LARGEST = 1_048_576
"""Bytes of JSON that a message has at most."""

_NAME = re.compile(r"[a-z0-9_]{1,47}")


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a queue, with the names of pgmq.

    `read_ct` counts how often it was read, `vt` is the instant from which it is visible to readers (again).
    """

    msg_id: int
    read_ct: int
    enqueued_at: datetime
    vt: datetime
    message: Any
    headers: Any = None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue; `kind` tells who keeps it: `flowstone` or `pgmq`."""

    name: str
    kind: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is known of a queue: messages in it, visible ones, ever sent; ages in seconds, None when it is empty."""

    queue_name: str
    queue_length: int
    queue_visible_length: int
    newest_msg_age_sec: int | None
    oldest_msg_age_sec: int | None
    total_messages: int
    scrape_time: datetime


def check_queue(name: object) -> str:
    """The name of a queue, when it is legal.

    Raises:
        ValidationError: it is no text of 1 to 47 letters a-z, digits and `_`.

    >>> check_queue("orders")
    'orders'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        expected = "expected the name of a queue to be 1 to 47 letters a-z, digits or '_'"
        raise ValidationError(f"{expected}, got: {shown(name)}", name=name)
    return str(name)


def check_message(content: object, what: str = "a message") -> str:
    """The JSON text of a message, when it can be kept.

    Raises:
        ValidationError: JSON has no form for it, it holds a NUL, or it is larger than `LARGEST`.

    >>> check_message({"day": 1})
    '{"day":1}'
    """
    try:
        text = json_text(content)
    except ValidationError as error:
        raise ValidationError(f"expected {what} that JSON can hold, got: {shown(content)} ({error})") from error
    if "\\u0000" in text:
        raise ValidationError(f"expected {what} without NUL characters, got: {shown(content)}")
    if len(text.encode()) > LARGEST:
        raise ValidationError(f"expected {what} of at most {LARGEST} bytes of JSON, got: {len(text.encode())}")
    return text
