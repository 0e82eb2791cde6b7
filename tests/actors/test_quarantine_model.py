"""A pure model of quarantine, and a machine that drives it and a real dynamic supervisor through the same random life.

Each child has a budget of its own: past it the child is `broken`, and tried again later with a fresh budget. Nothing
that happens to one child is ever seen at another, nor at the supervisor. The model shares no code with the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import Actor, ActorError, ChildSpec, DynamicSupervisor, Quarantine, System
from actors.testing import ManualClock

IDS = "abc"
MAX_SECONDS, RETRY_AFTER = 5.0, 12.0
pytestmark = pytest.mark.property


@dataclass
class Child:
    """One child of the model; `fails` is how many of its next starts fail."""

    id: str
    restart: str
    fails: int = 0
    state: str = "running"
    history: list[float] = field(default_factory=list)
    retry_at: float | None = None


@dataclass
class Model:
    """The rules of quarantine as plain code."""

    max_restarts: int
    now: float = 0.0
    children: dict[str, Child] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)

    def add(self, child: Child) -> bool:
        if child.id in self.children:
            return False
        if self.start(child):
            self.children[child.id] = child
            return True
        return False

    def start(self, child: Child) -> bool:
        if child.fails:
            child.fails -= 1
            self.log.append(("failed", child.id))
            return False
        self.log.append(("init", child.id))
        child.state = "running"
        return True

    def terminate(self, id: str) -> bool:
        child = self.children.pop(id, None)
        if child is not None and child.state == "running":
            self.log.append(("terminate", id))
        return child is not None

    def exited(self, id: str, reason: str) -> None:
        child = self.children[id]
        self.log.append(("terminate", id))
        if child.restart == "permanent" or (child.restart == "transient" and reason == "crash"):
            self.recover(child)
        else:
            del self.children[id]

    def recover(self, child: Child) -> None:
        """Spend of the child's own budget until a start succeeds, or park it."""
        while True:
            child.history = [at for at in child.history if at + MAX_SECONDS >= self.now] + [self.now]
            if len(child.history) > self.max_restarts:
                child.state, child.retry_at = "broken", self.now + RETRY_AFTER
                self.log.append(("parked", child.id))
                return
            if self.start(child):
                return

    def pass_time(self, seconds: float) -> None:
        """Try parked children again when their time comes; a retry that fails counts as a first crash."""
        end = self.now + seconds
        while due := [c for c in self.children.values() if c.state == "broken" and (c.retry_at or 0.0) <= end]:
            child = min(due, key=lambda c: c.retry_at or 0.0)
            self.now, child.history = child.retry_at or 0.0, []
            if not self.start(child):
                self.recover(child)
        self.now = end


class Machine(RuleBasedStateMachine):
    """A real supervisor with quarantine beside the model."""

    backend = ""

    @initialize(max_restarts=st.integers(0, 3))
    def begin(self, max_restarts: int) -> None:
        self.clock = ManualClock()
        self.system = System(self.backend, clock=self.clock, blocked_after=None)
        self.log: list[tuple[str, str]] = []
        self.fails: dict[str, int] = {}
        self.model = Model(max_restarts)
        log, quarantine = self.log, Quarantine(max_restarts, MAX_SECONDS, RETRY_AFTER)

        class Noting(DynamicSupervisor):
            def child_parked(self, id: str, reason: object) -> None:
                log.append(("parked", id))

        # No restarts at all in the common budget: were one counted there, the supervisor would end.
        self.sup = self.system.start(Noting, quarantine=quarantine, max_restarts=0)

    def teardown(self) -> None:
        self.system.stop()

    def actor(self, id: str) -> type[Actor]:
        log, fails = self.log, self.fails

        class Child(Actor):
            def init(self) -> None:
                if fails.get(id, 0):
                    fails[id] -= 1
                    log.append(("failed", id))
                    raise RuntimeError("fails")
                log.append(("init", id))

            def receive(self, message: str) -> None:
                if message == "crash":
                    raise ValueError("crash")
                self.stop(message)

            def terminate(self, reason: object) -> None:
                log.append(("terminate", id))

        return Child

    @rule(
        id=st.sampled_from(IDS),
        restart=st.sampled_from(["permanent", "permanent", "transient", "temporary"]),
        fails=st.sampled_from([0, 0, 0, 1]),
    )
    def start_child(self, id: str, restart: str, fails: int) -> None:
        if id not in self.model.children:
            self.fails[id] = fails
        expected = self.model.add(Child(id, restart, fails))
        assert self.call(lambda: self.sup.start_child(ChildSpec(self.actor(id), id=id, restart=restart))) == expected

    @rule(id=st.sampled_from(IDS))
    def terminate_child(self, id: str) -> None:
        assert self.call(lambda: self.sup.terminate_child(id)) == self.model.terminate(id)

    @precondition(lambda self: any(child.state == "running" for child in self.model.children.values()))
    @rule(
        data=st.data(),
        how=st.sampled_from(["crash", "crash", "crash", "crash", "normal", "shutdown"]),
        fails=st.sampled_from([0, 0, 0, 1, 2, 5]),
    )
    def child_ends(self, data: st.DataObject, how: str, fails: int) -> None:
        running = [child for child in self.model.children.values() if child.state == "running"]
        child = data.draw(st.sampled_from(running))
        child.fails = self.fails[child.id] = fails
        ref = self.sup.child(child.id)
        self.model.exited(child.id, how)
        ref.tell(how)
        assert self.system.work.wait_idle(20)

    @rule(seconds=st.sampled_from([0.5, 5.0, 5.5, 11.5, 12.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.model.pass_time(seconds)
        self.clock.advance(seconds)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.log == self.model.log
        assert self.sup.is_alive()
        rows = [(row.id, row.state) for row in self.sup.which_children()]
        assert rows == [(child.id, child.state) for child in self.model.children.values()]

    def call(self, action) -> bool:
        try:
            action()
        except ActorError:
            return False
        return True


class Greenlets(Machine):
    backend = "greenlets"


class Threads(Machine):
    backend = "threads"


EFFORT = settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestGreenlets = Greenlets.TestCase
TestThreads = Threads.TestCase
TestGreenlets.settings = TestThreads.settings = EFFORT
