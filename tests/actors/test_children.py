"""Calls about children, and what their names mean between a crash and the restart."""

from __future__ import annotations

import pytest

from actors import (
    ActorDeadError,
    Backoff,
    ChildExists,
    ChildNotFound,
    ChildRunning,
    ChildSpec,
    ChildStartError,
    Supervisor,
)
from actors.testing import assert_actor_state, crash


def test_calls_about_children(system, recorder):
    log, make = recorder
    children = [ChildSpec(make(name), id=name) for name in "ab"]
    sup = system.start(Supervisor, children=children)
    added = sup.start_child(ChildSpec(make("c"), id="c"))
    assert added.ask("x") == "c"
    with pytest.raises(ChildExists):
        sup.start_child(ChildSpec(make("c"), id="c"))
    with pytest.raises(ChildRunning):
        sup.restart_child("a")
    with pytest.raises(ChildRunning):
        sup.delete_child("a")
    sup.terminate_child("a")
    assert [row.state for row in sup.which_children()] == ["stopped", "running", "running"]
    with pytest.raises(ActorDeadError):
        sup.child("a").tell("x")
    with pytest.raises(ChildExists):
        sup.start_child(ChildSpec(make("a"), id="a"))
    assert sup.restart_child("a").ask("y") == "a"
    sup.terminate_child("a")
    sup.delete_child("a")
    for call in (sup.child, sup.terminate_child, sup.restart_child, sup.delete_child):
        with pytest.raises(ChildNotFound, match="b, c"):
            call("a")


def test_a_child_added_that_fails_is_not_kept(system, recorder):
    _, make = recorder
    sup = system.start(Supervisor, children=[ChildSpec(make("a"), id="a")])
    with pytest.raises(ChildStartError):
        sup.start_child(ChildSpec(make("b", lambda: True), id="b"))
    assert sup.count_children().specs == 1


def test_restart_child_that_fails_leaves_it_stopped(system, recorder):
    _, make = recorder
    fails = iter([False, True, False])
    sup = system.start(Supervisor, children=[ChildSpec(make("a", lambda: next(fails)), id="a")])
    sup.terminate_child("a")
    with pytest.raises(ChildStartError):
        sup.restart_child("a")
    assert sup.which_children()[0].state == "stopped"
    assert sup.restart_child("a").ask("x") == "a"


def test_what_is_told_between_crash_and_restart_reaches_the_successor(system, clock, counter):
    spec = ChildSpec(counter, id="a", backoff=Backoff(base=10))
    sup = system.start(Supervisor, children=[spec])
    ref = sup.child("a")
    crash(ref)
    assert sup.which_children()[0].state == "restarting"
    ref.tell(1)
    answer = ref.ask(2, block=False)
    clock.advance(10)
    assert answer.get(timeout=5) == 3
    assert_actor_state(ref, lambda actor: actor.count == 3)


def test_what_waits_in_the_mailbox_of_a_crashing_child_reaches_the_successor(system, counter):
    ref = system.start(Supervisor, children=[ChildSpec(counter, id="a")]).child("a")
    gate = system.future()
    ref.tell(lambda actor: gate.get(timeout=5))
    ref.tell(ValueError("crash"))
    for _ in range(10):
        ref.tell(1)
    gate.set()
    system.work.wait_idle(5)
    assert_actor_state(ref, lambda actor: actor.count == 10)
