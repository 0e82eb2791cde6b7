"""Actors without FlowStone: a counter under a supervisor crashes, is started again, and its ref goes on working.

Run it: python examples/supervised_actors.py
"""

import logging

from actors import Actor, ChildSpec, Supervisor, System
from actors.testing import crash


class Counter(Actor):
    """Adds up what it is told; starts from what it was given."""

    def init(self, start: int = 0) -> None:
        """Runs in the actor; an error here would fail the start."""
        self.count = start

    def receive(self, message: int) -> int:
        """Answers with the sum so far."""
        self.count += message
        return self.count


if __name__ == "__main__":
    logging.disable(logging.ERROR)  # the report of the crash, which is wanted here
    with System(backend="auto") as system:
        children = [ChildSpec(Counter, id="counter", args=(100,), restart="permanent")]
        supervisor = system.start(Supervisor, children=children, strategy="one_for_one")
        counter = supervisor.child("counter")
        print("counted to", counter.ask(1, timeout=5))
        crash(counter)
        print("after the crash", counter.ask(1, timeout=5))
