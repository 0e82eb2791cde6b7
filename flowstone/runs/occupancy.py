"""Calls of asset functions in progress, and those that outlived the attempt which made them.

A call in a thread can't be ended from outside: one whose attempt timed out, or whose actor died, goes on; a coroutine
is cancelled and a call in a process killed, which takes a moment. Whoever ends an attempt asks here, inside the
transaction, which of its calls are still in progress, and writes down that they hold their (asset, partition). When
such a call ends at last, the row is released.

    1. the transaction marks the calls as outliving, then looks which are in progress;
    2. a call that ends is first taken out of progress, then its mark is read.

Whichever comes first, a call is either seen to have ended, or its release is queued behind the transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from actors.backends.work import Token

__all__ = ["Call", "Calls"]


@dataclass(slots=True, eq=False)
class Call:
    """One call of an asset's function; `revoked` tells it to store nothing any more, `kill` ends it where one can."""

    run_id: str
    asset: str
    partition: str
    revoked: bool = False
    kill: Callable[[], None] | None = None
    token: Token | None = None

    def on_revoke(self, kill: Callable[[], None] | None) -> None:
        """Call `kill` once the call is revoked, at once when it is already; None takes it back."""
        self.kill = kill
        # Whoever revokes sets the mark before it looks for `kill`: one of the two sees both. Twice does no harm.
        if self.revoked and kill is not None:
            kill()

    def hold(self, token: Token) -> None:
        """Count as work by this token, in place of the last one, until the call is settled."""
        before, self.token = self.token, token
        if before is not None:
            before.end()

    def settle(self) -> None:
        """The call has ended, and what follows from that is on its way."""
        if self.token is not None:
            self.token.end()

    def end_early(self) -> None:
        """End a revoked call where one can."""
        kill = self.kill
        if kill is not None:
            kill()


class Calls:
    """The calls in progress of one runtime; from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: defaultdict[str, dict[str, Call]] = defaultdict(dict)

    def begin(self, run_id: str, asset: str, partition: str) -> Call:
        """A call begins; the partition in its stored form."""
        call = Call(run_id, asset, partition)
        with self._lock:
            self._calls[run_id][asset] = call
        return call

    def end(self, call: Call) -> bool:
        """A call has ended; whether its attempt was over before."""
        with self._lock:
            of_run = self._calls[call.run_id]
            if of_run.get(call.asset) is call:
                del of_run[call.asset]
            if not of_run:
                del self._calls[call.run_id]
            return call.revoked

    def held(self) -> frozenset[tuple[str, str]]:
        """The (asset, partition)s of the calls in progress, whatever became of their runs meanwhile."""
        with self._lock:
            return frozenset((call.asset, call.partition) for calls in self._calls.values() for call in calls.values())

    def outlive(self, run_id: str, asset: str | None = None) -> frozenset[str]:
        """Revoke the calls of a run, or of one of its assets; the assets whose calls are still in progress."""
        with self._lock:
            of_run = self._calls.get(run_id, {})
            found = [*of_run.values()] if asset is None else [of_run[asset]] if asset in of_run else []
            for call in found:
                call.revoked = True
        for call in found:
            call.end_early()
        return frozenset(call.asset for call in found)
