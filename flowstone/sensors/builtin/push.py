"""The sensor that is not polled: messages are pushed to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal

from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.errors import ValidationError, shown
from flowstone.sensors.sensor import Answer, Arrival, NoTrigger, Sensor, Trigger
from flowstone.sensors.signatures import Auth

__all__ = ["Push"]


@checked_keywords
class Push(Sensor):
    """Triggers once for each message that `runtime.sensors.push` is given; the payload is the message.

    - `message_id` (None): a function that computes a message's id, for pushes that come without one
    - `partition` (None): a function that computes the partition; without it, the partition is None
    - `auth` (None): who may send messages over HTTP, shown by a `GitHubSignature`, a `StripeSignature` or a `Token`;
      None takes none over HTTP, False takes them from everybody

    A subclass may override `receive`, to answer several partitions or none.

    Raises:
        ValidationError: an unknown keyword, or what is no function.
    """

    kind: ClassVar[str] = "push"

    def __init__(
        self,
        *,
        message_id: Callable[[Any], str] | None = None,
        partition: Callable[[Any], Partition] | None = None,
        auth: Auth | Literal[False] | None = None,
    ) -> None:
        for option, function in (("message_id", message_id), ("partition", partition)):
            if function is not None and not callable(function):
                raise ValidationError(f"expected {option} to be callable, got: {shown(function)}", option=option)
        if auth is not None and auth is not False and not callable(getattr(auth, "refusal", None)):
            # What was given may be a secret, so it is not shown.
            raise ValidationError("expected auth to be a GitHubSignature, a StripeSignature or a Token", option="auth")
        self.auth = auth
        self.message_id = message_id
        self.partition = partition

    def receive(self, message: Any) -> Answer | Awaitable[Answer]:
        """What a message triggers; may raise, and may be `async`."""
        return Trigger(Arrival(None if self.partition is None else self.partition(message), payload=message))

    def poll(self, state: Any) -> Answer:
        """Nothing: messages are pushed."""
        return NoTrigger(reason="messages are pushed to this sensor")
