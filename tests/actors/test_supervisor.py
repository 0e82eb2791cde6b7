"""Supervisors: order, strategies, restart kinds, intensity, calls. Rules and names are OTP's."""

from __future__ import annotations

import pytest

from actors import (
    Actor,
    ActorDeadError,
    Backoff,
    ChildExists,
    ChildNotFound,
    ChildRunning,
    ChildSpec,
    ChildStartError,
    GaveUp,
    SpecError,
    Supervisor,
)
from actors.events import ActorRestarted, SupervisorGaveUp
from actors.testing import Probe, assert_actor_state, crash


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


def test_calls_about_children(system, recorder):
    log, make = recorder
    sup = start(system, make, "a", "b")
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
    sup = start(system, make, "a")
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


@pytest.mark.parametrize(
    ("mode", "endings", "ends"),
    [
        ("never", "", False),
        ("any_significant", "a", True),
        ("all_significant", "a", False),
        ("all_significant", "ab", True),
        ("any_significant", "c", False),
    ],
)
def test_auto_shutdown_follows_significant_children(system, recorder, mode, endings, ends):
    _, make = recorder
    specs = [ChildSpec(make(n), id=n, restart="transient", significant=mode != "never" and n != "c") for n in "abc"]
    sup = system.start(Supervisor, children=specs, auto_shutdown=mode)
    probe = Probe(system)
    probe.monitor(sup)
    for name in endings:
        sup.child(name).ask("stop")
    if ends:
        assert probe.expect().reason == "shutdown"
    else:
        assert sup.is_alive() and sup.count_children().active == 3 - len(endings)


def test_a_significant_child_stopped_on_purpose_ends_nothing(system, recorder):
    _, make = recorder
    spec = ChildSpec(make("a"), id="a", restart="transient", significant=True)
    sup = system.start(Supervisor, children=[spec], auto_shutdown="any_significant")
    sup.terminate_child("a")
    assert sup.count_children().specs == 1


def test_temporary_siblings_stopped_by_a_strategy_are_forgotten(system, recorder):
    _, make = recorder
    specs = [ChildSpec(make("a"), id="a"), ChildSpec(make("b"), id="b", restart="temporary")]
    sup = system.start(Supervisor, children=specs, strategy="one_for_all")
    crash(sup.child("a"))
    assert [row.id for row in sup.which_children()] == ["a"]


def test_brutal_kill_skips_terminate(system, recorder):
    log, make = recorder
    spec = ChildSpec(make("a"), id="a", shutdown="brutal_kill")
    sup = system.start(Supervisor, children=[spec])
    probe = Probe(system)
    probe.monitor(sup.child("a"))
    sup.terminate_child("a")
    assert probe.expect().reason == "killed"
    assert ("terminate", "a") not in log


def test_a_child_that_does_not_stop_in_time_is_killed_or_abandoned(backend, real, counter):
    gate, entered = real.future(), real.future()
    sup = real.start(Supervisor, children=[ChildSpec(counter, id="a", shutdown=0.05)])
    ref = sup.child("a")
    held = ref.ask(lambda actor: (entered.set(), gate.get(timeout=20)), block=False)
    entered.get(timeout=5)
    sup.terminate_child("a")
    with pytest.raises(ActorDeadError, match="killed"):
        held.get(timeout=5)
    assert len(real.abandoned) == (1 if backend == "threads" else 0)
    gate.set()


def test_infinity_waits(real, counter):
    sup = real.start(Supervisor, children=[ChildSpec(counter, id="a", shutdown="infinity")])
    gate, entered = real.future(), real.future()
    sup.child("a").tell(lambda actor: (entered.set(), gate.get(timeout=20)))
    entered.get(timeout=5)
    real.backend.real.call_after(0.05, gate.set)
    sup.terminate_child("a")
    assert gate.done and real.abandoned == []


def test_nested_supervisors_have_all_the_time_they_need_by_default(counter):
    assert ChildSpec(Supervisor).shutdown == "infinity"
    assert ChildSpec(counter).shutdown == 5.0


def test_killing_a_supervisor_kills_its_children(system, recorder):
    log, make = recorder
    inner = {"children": [ChildSpec(make("a"), id="a")]}
    outer = system.start(Supervisor, children=[ChildSpec(Supervisor, id="s", kwargs=inner, shutdown="brutal_kill")])
    child = outer.child("s").child("a").cell
    outer.terminate_child("s")
    assert child.dead and child.reason == "killed"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strategy": "one_for_two"}, "strategy"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"auto_shutdown": "sometimes"}, "auto_shutdown"),
        ({"children": ["a"]}, "ChildSpec"),
        ({"children": [ChildSpec(Actor, restart="transient", significant=True)]}, "significant"),
    ],
)
def test_bad_options_are_refused_at_start(system, options, text):
    with pytest.raises(SpecError, match=text):
        system.start(Supervisor, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"restart": "always"}, "permanent, transient, temporary"),
        ({"shutdown": -1}, "shutdown"),
        ({"shutdown": "soon"}, "brutal_kill"),
        ({"id": ""}, "id"),
        ({"args": "abc"}, "args"),
        ({"kwargs": 3}, "kwargs"),
        ({"significant": True}, "significant"),
    ],
)
def test_bad_specifications_are_refused(options, text):
    with pytest.raises(SpecError, match=text):
        ChildSpec(Actor, **options)


def test_a_class_that_is_no_actor_is_refused(system):
    with pytest.raises(SpecError, match="dict"):
        system.start(dict)
    with pytest.raises(SpecError, match="dict"):
        system.start(Supervisor, children=[ChildSpec(dict)])
