"""Approvals as values: the question that an asset asks people, what may become of it, and the decision it is told."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any

from flowstone.durations import seconds
from flowstone.errors import ValidationError, shown, storable

__all__ = ["ApprovalStatus", "Decision", "OnTimeout", "WaitForApproval", "as_json"]


class ApprovalStatus(enum.StrEnum):
    """The states of an approval; all but the first are final."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    MODIFIED = "modified"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class OnTimeout(enum.StrEnum):
    """What happens when the deadline of an approval passes."""

    EXPIRE = "expire"
    APPROVE = "approve"
    REJECT = "reject"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class WaitForApproval:
    """An asset's answer: a person has to decide first. The run waits, and holds no slot.

    Approved or modified, the function is called again from its start, with `context.approval`. `context` is JSON for
    those who decide; without `timeout` (a duration) there is no deadline.

    Raises:
        ValidationError: the message is no text or empty, the context no JSON, `on_timeout` none of the four.

    >>> WaitForApproval("unusually large day", {"rows": 7}, timeout="1d").timeout
    86400.0
    """

    message: str
    context: Any = None
    timeout: Any = None
    on_timeout: Any = OnTimeout.EXPIRE

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", _message(self.message))
        object.__setattr__(self, "context", as_json("context of an approval", self.context))
        if self.timeout is not None:
            object.__setattr__(self, "timeout", seconds(self.timeout, "timeout", minimum=0.001))
        object.__setattr__(self, "on_timeout", _on_timeout(self.on_timeout))


@dataclass(frozen=True, slots=True)
class Decision:
    """What people, or a deadline, said: `decision` is `approved` or `modified`, `by` who, `payload` what came with it.

    The payload is JSON of whoever modified; of a plain approval it is None. A deadline is called `timeout`.
    """

    decision: ApprovalStatus
    by: str
    payload: Any = None
    reason: str | None = None


def as_json(what: str, value: Any) -> Any:
    """A value as it comes back from JSON: a copy, so that it stays what was checked.

    Raises:
        ValidationError: JSON has no form for it.

    >>> as_json("payload", {1: (2, 3)})
    {'1': [2, 3]}
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError(f"expected {what} to be JSON, got: {shown(value)} ({error})") from error


def _message(given: Any) -> str:
    if not isinstance(given, str) or not given.strip():
        raise ValidationError(f"expected message to tell people what to approve, got: {shown(given)}")
    return storable(given)


def _on_timeout(given: Any) -> OnTimeout:
    try:
        return OnTimeout(given)
    except ValueError:
        known = ", ".join(OnTimeout)
        raise ValidationError(f"expected on_timeout to be one of {known}, got: {shown(given)}") from None
