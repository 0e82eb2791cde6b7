"""A pure model of OTP's supervisor, and a machine that drives it and a real supervisor through the same random life.

The model is written from OTP's documentation and supervisor.erl, and shares no code with the package. Compared
after each step: who was started, stopped and failed in which order, what state each child is in, and whether the
supervisor lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors import Actor, ActorError, ChildError, ChildSpec, Supervisor, System
from actors.testing import ManualClock

IDS = "abcdef"
pytestmark = pytest.mark.property


@dataclass
class Child:
    """One child of the model; `fails` is how many of its next starts fail."""

    id: str
    restart: str
    significant: bool
    state: str = "stopped"
    fails: int = 0


@dataclass
class Model:
    """OTP's rules as plain code."""

    strategy: str
    max_restarts: int
    max_seconds: float
    auto_shutdown: str
    now: float = 0.0
    alive: bool = True
    children: list[Child] = field(default_factory=list)
    history: list[float] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)

    def find(self, id: str) -> Child | None:
        return next((child for child in self.children if child.id == id), None)

    def add(self, child: Child) -> bool:
        """start_child: refused for a taken id; one that fails is not kept."""
        if self.find(child.id):
            return False
        self.children.append(child)
        if not self.start(child):
            self.children.remove(child)
            return False
        return True

    def start(self, child: Child) -> bool:
        if child.fails:
            child.fails -= 1
            self.log.append(("failed", child.id))
            return False
        self.log.append(("init", child.id))
        child.state = "running"
        return True

    def stop(self, child: Child, state: str = "stopped") -> None:
        if child.state == "running":
            self.log.append(("terminate", child.id))
        child.state = state

    def terminate(self, id: str) -> bool:
        child = self.find(id)
        if child is None:
            return False
        self.stop(child)
        if child.restart == "temporary":
            self.children.remove(child)
        return True

    def restart_child(self, id: str) -> bool:
        child = self.find(id)
        return child is not None and child.state == "stopped" and self.start(child)

    def delete(self, id: str) -> bool:
        child = self.find(id)
        if child is None or child.state != "stopped":
            return False
        self.children.remove(child)
        return True

    def exited(self, id: str, reason: str) -> None:
        """A child has ended by itself: "normal", "shutdown", "killed" or "crash"."""
        child = self.find(id)
        assert child is not None and child.state == "running"
        if reason != "killed":
            self.log.append(("terminate", id))
        abnormal = reason not in ("normal", "shutdown")
        child.state = "stopped"
        if child.restart == "permanent" or (child.restart == "transient" and abnormal):
            self.recover(child)
            return
        if child.restart == "temporary":
            self.children.remove(child)
        if child.significant and (
            self.auto_shutdown == "any_significant"
            or (
                self.auto_shutdown == "all_significant"
                and not any(c.significant and c.state == "running" for c in self.children)
            )
        ):
            self.end()

    def recover(self, child: Child | None) -> None:
        """Count and restart; a start that fails counts as the next crash, of the child that failed."""
        while child is not None:
            self.history = [at for at in self.history if at + self.max_seconds >= self.now] + [self.now]
            if len(self.history) > self.max_restarts:
                self.end()
                return
            child = self.restart_from(child)

    def restart_from(self, child: Child) -> Child | None:
        """Stop and start who belongs together; returns who failed to start."""
        at = self.children.index(child)
        group = {"one_for_one": [child], "one_for_all": list(self.children), "rest_for_one": self.children[at:]}[
            self.strategy
        ]
        for one in reversed(group):
            self.stop(one, "restarting")
            if one is not child and one.restart == "temporary":
                self.children.remove(one)
        for one in group:
            if one in self.children and not self.start(one):
                return one
        return None

    def end(self) -> None:
        for child in reversed(self.children):
            self.stop(child)
        self.alive = False


class Machine(RuleBasedStateMachine):
    """A real supervisor beside the model."""

    backend = ""

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        max_restarts=st.integers(0, 4),
        auto=st.sampled_from(["never", "any_significant", "all_significant"]),
    )
    def begin(self, strategy: str, max_restarts: int, auto: str) -> None:
        self.clock = ManualClock()
        self.system = System(self.backend, clock=self.clock, blocked_after=None)
        self.log: list[tuple[str, str]] = []
        self.fails: dict[str, int] = {}
        self.model = Model(strategy, max_restarts, 5.0, auto)
        options = {"strategy": strategy, "max_restarts": max_restarts, "max_seconds": 5.0, "auto_shutdown": auto}
        self.sup = self.system.start(Supervisor, **options)

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

            def receive(self, message: Any) -> None:
                if message == "crash":
                    raise ValueError("crash")
                self.stop(message)

            def terminate(self, reason: Any) -> None:
                log.append(("terminate", id))

        return Child

    def call(self, method: str, *arguments: Any) -> bool:
        try:
            getattr(self.sup, method)(*arguments)
        except (ChildError, ActorError):
            return False
        return True

    @precondition(lambda self: self.model.alive)
    @rule(
        id=st.sampled_from(IDS),
        restart=st.sampled_from(["permanent", "transient", "temporary"]),
        significant=st.booleans(),
        fails=st.sampled_from([0, 0, 0, 1]),
    )
    def start_child(self, id: str, restart: str, significant: bool, fails: int) -> None:
        significant = significant and restart != "permanent" and self.model.auto_shutdown != "never"
        if self.model.find(id) is None:
            self.fails[id] = fails
        expected = self.model.add(Child(id, restart, significant, fails=fails))
        spec = ChildSpec(self.actor(id), id=id, restart=restart, significant=significant)
        assert self.call("start_child", spec) == expected

    @precondition(lambda self: self.model.alive and any(c.state == "running" for c in self.model.children))
    @rule(
        data=st.data(),
        how=st.sampled_from(["crash", "crash", "crash", "normal", "shutdown", "killed"]),
        fails=st.sampled_from([0, 0, 0, 1, 2, 5]),
    )
    def child_ends(self, data: st.DataObject, how: str, fails: int) -> None:
        running = [child for child in self.model.children if child.state == "running"]
        child = data.draw(st.sampled_from(running))
        victim = data.draw(st.sampled_from(self.model.children))
        victim.fails = self.fails[victim.id] = fails
        ref = self.sup.child(child.id)
        self.model.exited(child.id, how)
        if how == "killed":
            ref.cell.kill()
        else:
            ref.tell(how)
        assert self.system.work.wait_idle(20)

    @precondition(lambda self: self.model.alive)
    @rule(id=st.sampled_from(IDS), method=st.sampled_from(["terminate_child", "restart_child", "delete_child"]))
    def call_about_a_child(self, id: str, method: str) -> None:
        model = {
            "terminate_child": self.model.terminate,
            "restart_child": self.model.restart_child,
            "delete_child": self.model.delete,
        }[method]
        assert self.call(method, id) == model(id)

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 5.5]))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds
        self.clock.advance(seconds)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.log == self.model.log
        assert self.sup.is_alive() == self.model.alive
        if self.model.alive:
            rows = [(row.id, row.state) for row in self.sup.which_children()]
            assert rows == [(child.id, child.state) for child in self.model.children]
            assert self.sup.count_children().active == sum(child.state == "running" for child in self.model.children)


class Greenlets(Machine):
    backend = "greenlets"


class Threads(Machine):
    backend = "threads"


EFFORT = settings(max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestGreenlets = Greenlets.TestCase
TestThreads = Threads.TestCase
TestGreenlets.settings = TestThreads.settings = EFFORT
