"""Supervisors: order, strategies, restart kinds, intensity, backoff. Rules and names are OTP's."""

from __future__ import annotations

import pytest

from actors import (
    ActorDeadError,
    Backoff,
    ChildSpec,
    ChildStartError,
    GaveUp,
    Supervisor,
)
from actors.events import ActorRestarted, SupervisorGaveUp
from actors.testing import Probe, crash


def start(system, make, *names, restart="permanent", **options):
    specs = [ChildSpec(make(name), id=name, restart=restart) for name in names]
    return system.start(Supervisor, children=specs, **options)


def test_children_start_in_order_and_stop_in_reverse(system, recorder):
    log, make = recorder
    sup = start(system, make, "a", "b", "c")
    assert [row.id for row in sup.which_children()] == ["a", "b", "c"]
    sup.stop()
    assert log == [("init", n) for n in "abc"] + [("terminate", n) for n in "cba"]


def test_a_failed_start_stops_those_before_it_and_names_child_and_cause(system, recorder):
    log, make = recorder
    specs = [ChildSpec(make("a"), id="a"), ChildSpec(make("b", lambda: True), id="b"), ChildSpec(make("c"), id="c")]
    with pytest.raises(ChildStartError, match="'b'.*b fails") as failed:
        system.start(Supervisor, children=specs)
    assert isinstance(failed.value.__cause__, RuntimeError) and failed.value.id == "b"
    assert log == [("init", "a"), ("failed", "b"), ("terminate", "a")]
    assert system.tree() == ()


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [("one_for_one", "", "b"), ("one_for_all", "ca", "abc"), ("rest_for_one", "c", "bc")],
)
def test_a_crash_restarts_what_the_strategy_says(system, recorder, strategy, stopped, started):
    log, make = recorder
    sup = start(system, make, "a", "b", "c", strategy=strategy)
    log.clear()
    crash(sup.child("b"))
    assert log == [("terminate", n) for n in "b" + stopped] + [("init", n) for n in started]


@pytest.mark.parametrize(
    ("restart", "ending", "comes_back"),
    [
        ("permanent", "crash", True),
        ("permanent", "stop", True),
        ("transient", "crash", True),
        ("transient", "stop", False),
        ("temporary", "crash", False),
        ("temporary", "stop", False),
    ],
)
def test_the_restart_kind_decides_who_comes_back(system, recorder, restart, ending, comes_back):
    log, make = recorder
    sup = start(system, make, "a", restart=restart)
    ref = sup.child("a")
    if ending == "crash":
        crash(ref)
    else:
        ref.ask("stop")
        sup.describe()
    assert log.count(("init", "a")) == (2 if comes_back else 1)
    assert sup.count_children().active == (1 if comes_back else 0)
    assert sup.count_children()["specs"] == (0 if restart == "temporary" else 1)


def test_more_restarts_than_allowed_end_the_supervisor_and_its_children(system, recorder):
    log, make = recorder
    events = []
    system.events.subscribe(events.append)
    sup = start(system, make, "a", "b", max_restarts=2, max_seconds=5)
    probe = Probe(system)
    probe.monitor(sup)
    for _ in range(3):
        crash(sup.child("a"))
    reason = probe.expect().reason
    assert reason == "shutdown" and isinstance(reason.cause, GaveUp)
    assert log[-1] == ("terminate", "b")
    assert [event.id for event in events if isinstance(event, SupervisorGaveUp)] == ["a"]
    with pytest.raises(ActorDeadError):
        sup.which_children()


def test_restarts_outside_the_period_are_forgotten(system, clock, recorder):
    _, make = recorder
    sup = start(system, make, "a", max_restarts=1, max_seconds=5)
    for _ in range(5):
        crash(sup.child("a"))
        clock.advance(5.5)
    assert sup.which_children()[0].restarts == 5


def test_the_edge_of_the_period_belongs_to_it(system, clock, recorder):
    _, make = recorder
    sup = start(system, make, "a", max_restarts=1, max_seconds=5)
    crash(sup.child("a"))
    clock.advance(5)
    crash(sup.child("a"))
    assert not sup.is_alive()


def test_a_supervisor_that_gave_up_is_restarted_by_its_parent(system, recorder):
    _, make = recorder
    inner = {"children": [ChildSpec(make("a"), id="a")], "max_restarts": 0}
    outer = system.start(Supervisor, children=[ChildSpec(Supervisor, id="inner", kwargs=inner)])
    ref = outer.child("inner").child("a")
    crash(ref)
    outer.describe()
    assert outer.which_children()[0].restarts == 1
    assert ref.ask("hello") == "a", "a ref survives its supervisor's restart too"


def test_a_child_that_fails_at_restart_is_tried_again_and_counts(system, recorder):
    log, make = recorder
    fails = iter([False, True, True, False])
    sup = system.start(Supervisor, children=[ChildSpec(make("a", lambda: next(fails)), id="a")], max_restarts=3)
    crash(sup.child("a"))
    system.work.wait_idle(5)
    assert sup.child("a").ask("x") == "a"
    assert log.count(("failed", "a")) == 2
    crash(sup.child("a"))
    assert not sup.is_alive(), "three restarts had been spent"


def test_restart_backoff_grows_and_starts_over_after_quiet(system, clock, recorder):
    log, make = recorder
    backoff = Backoff(base=1, factor=2, cap=3, reset_after=60)
    sup = system.start(Supervisor, children=[ChildSpec(make("a"), id="a")], backoff=backoff, max_restarts=100)
    for delay in (1, 2, 3, 3):
        crash(sup.child("a"))
        clock.advance(delay - 0.01)
        assert sup.which_children()[0].state == "restarting"
        clock.advance(0.01)
        assert sup.which_children()[0].state == "running"
    clock.advance(61)
    crash(sup.child("a"))
    clock.advance(1)
    assert sup.which_children()[0].state == "running"


def test_restarts_are_events_with_reason_and_count(system, recorder):
    _, make = recorder
    events = []
    system.events.subscribe(events.append)
    sup = start(system, make, "a")
    error = ValueError("x")
    crash(sup.child("a"), error)
    assert [e for e in events if isinstance(e, ActorRestarted)] == [ActorRestarted(f"{sup.path}/a", "a", error, 1)]


def test_temporary_siblings_stopped_by_a_strategy_are_forgotten(system, recorder):
    _, make = recorder
    specs = [ChildSpec(make("a"), id="a"), ChildSpec(make("b"), id="b", restart="temporary")]
    sup = system.start(Supervisor, children=specs, strategy="one_for_all")
    crash(sup.child("a"))
    assert [row.id for row in sup.which_children()] == ["a"]
