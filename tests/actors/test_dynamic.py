"""Dynamic supervisors: many children, their budgets, quarantine."""

from __future__ import annotations

import time

import pytest

from actors import (
    Actor,
    ActorDeadError,
    Backoff,
    ChildExists,
    ChildNotFound,
    ChildSpec,
    ChildStartError,
    DynamicSupervisor,
    Quarantine,
    SpecError,
    Supervisor,
    System,
    TooManyChildren,
)
from actors.events import ChildParked
from actors.testing import Probe, crash


def test_children_come_and_go(system, counter):
    sup = system.start(DynamicSupervisor)
    first, second = sup.start_child(ChildSpec(counter)), sup.start_child(ChildSpec(counter, id="b", args=(5,)))
    assert first.ask(1) == 1 and second.ask(1) == 6
    assert sup.count_children().active == 2
    sup.terminate_child("b")
    sup.terminate_child(first)
    assert sup.which_children() == []
    for child in ("b", first, second):
        with pytest.raises(ChildNotFound):
            sup.terminate_child(child)


def test_a_taken_id_and_one_too_many_are_refused(system, counter):
    sup = system.start(DynamicSupervisor, max_children=2)
    sup.start_child(ChildSpec(counter, id="a"))
    with pytest.raises(ChildExists):
        sup.start_child(ChildSpec(counter, id="a"))
    sup.start_child(ChildSpec(counter))
    with pytest.raises(TooManyChildren, match="max_children is 2"):
        sup.start_child(ChildSpec(counter))
    with pytest.raises(SpecError):
        sup.start_child(counter)


def test_extra_arguments_come_first(system, counter):
    sup = system.start(DynamicSupervisor, extra_args=(10,))
    assert sup.start_child(ChildSpec(counter)).ask(1) == 11


def test_a_child_that_fails_to_start_is_not_kept(system, recorder):
    _, make = recorder
    sup = system.start(DynamicSupervisor)
    with pytest.raises(ChildStartError):
        sup.start_child(ChildSpec(make("a", lambda: True), id="a"))
    assert sup.count_children().specs == 0


@pytest.mark.parametrize(("restart", "left"), [("permanent", 1), ("transient", 1), ("temporary", 0)])
def test_crashed_children_come_back_by_their_kind(system, counter, restart, left):
    sup = system.start(DynamicSupervisor)
    ref = sup.start_child(ChildSpec(counter, id="a", restart=restart))
    crash(ref)
    assert sup.count_children().active == left


def test_a_common_budget_ends_the_supervisor(system, counter):
    sup = system.start(DynamicSupervisor, max_restarts=1)
    refs = [sup.start_child(ChildSpec(counter)) for _ in range(3)]
    crash(refs[0])
    crash(refs[1])
    assert not sup.is_alive() and not refs[2].is_alive()


def test_quarantine_parks_one_child_and_its_siblings_never_notice(system, clock, counter):
    events = []
    system.events.subscribe(events.append)

    class Watching(DynamicSupervisor):
        def init(self):
            self.seen = []
            super().init(quarantine=Quarantine(max_restarts=2, max_seconds=5, retry_after=60))

        def child_restarted(self, id, reason):
            self.seen.append(("restarted", id))

        def child_parked(self, id, reason):
            self.seen.append(("parked", id))

    sup = system.start(Watching)
    bad, good = sup.start_child(ChildSpec(counter, id="bad")), sup.start_child(ChildSpec(counter, id="good", args=(7,)))
    error = ValueError("again")
    for _ in range(3):
        crash(bad, error)
    assert [row.state for row in sup.which_children()] == ["broken", "running"]
    assert [event.retry_after for event in events if isinstance(event, ChildParked)] == [60]
    with pytest.raises(ActorDeadError, match="again"):
        bad.tell(1)
    assert good.ask(0) == 7
    clock.advance(60)
    assert bad.ask(3) == 3
    crash(bad)
    assert bad.ask(1) == 1, "the budget is fresh after the retry"
    assert sup.cell.actor.seen == [("restarted", "bad")] * 2 + [("parked", "bad")] + [("restarted", "bad")] * 2


def test_a_child_that_fails_at_retry_is_parked_again(system, clock, recorder):
    _, make = recorder
    fails = iter([False, True, True, True, True, False])
    sup = system.start(DynamicSupervisor, quarantine=Quarantine(max_restarts=1, max_seconds=5, retry_after=10))
    ref = sup.start_child(ChildSpec(make("a", lambda: next(fails)), id="a"))
    crash(ref)
    system.work.wait_idle(5)
    assert sup.which_children()[0].state == "broken"
    clock.advance(10)
    assert sup.which_children()[0].state == "broken"
    clock.advance(10)
    assert ref.ask("x") == "a"


def test_all_children_stop_with_their_supervisor(system, counter):
    sup = system.start(DynamicSupervisor)
    probe = Probe(system)
    for number in range(20):
        probe.monitor(sup.start_child(ChildSpec(counter, id=str(number))))
    sup.stop()
    assert [probe.expect().reason for _ in range(20)] == ["shutdown"] * 20


def test_names_survive_the_restart_of_their_dynamic_supervisor(system, counter):
    class Sensors(DynamicSupervisor):
        def init(self):
            super().init(children=[ChildSpec(counter, id="a", args=(5,))])

    root = system.start(Supervisor, children=[ChildSpec(Sensors, id="sensors")])
    ref, gone = root.child("sensors").child("a"), root.child("sensors").start_child(ChildSpec(counter, id="b"))
    ref.ask(1)
    crash(root.child("sensors"))
    assert ref.ask(1) == 6
    with pytest.raises(ActorDeadError):
        gone.tell(1)


def test_children_that_fail_in_init_end_the_start_and_leave_nothing(system, recorder):
    log, make = recorder
    specs = [ChildSpec(make("a"), id="a"), ChildSpec(make("b", lambda: True), id="b")]
    with pytest.raises(ChildStartError, match="'b'"):
        system.start(DynamicSupervisor, children=specs)
    assert log == [("init", "a"), ("failed", "b"), ("terminate", "a")]


def test_restarts_of_dynamic_children_back_off_too(system, clock, counter):
    sup = system.start(DynamicSupervisor, backoff=Backoff(base=2), max_restarts=100)
    ref = sup.start_child(ChildSpec(counter, id="a"))
    for delay in (2, 4):
        crash(ref)
        clock.advance(delay - 0.1)
        assert sup.which_children()[0].state == "restarting"
        clock.advance(0.1)
        assert ref.ask(1) == 1


def test_what_waits_for_a_successor_that_never_comes_is_answered(system, counter):
    sup = system.start(DynamicSupervisor, backoff=Backoff(base=10))
    ref = sup.start_child(ChildSpec(counter, id="a"))
    error = ValueError("the crash")
    crash(ref, error)
    answer = ref.ask(1, block=False)
    sup.terminate_child("a")
    with pytest.raises(ActorDeadError) as dead:
        answer.get(timeout=5)
    assert dead.value.reason is error


class Idle(Actor):
    pass


class Driver(Actor):
    """Calls a supervisor from inside, where it costs least."""

    def receive(self, message):
        sup, count = message
        for _ in range(count):
            sup.start_child(ChildSpec(Idle))
        took = []
        for _ in range(100):
            began = time.perf_counter()
            sup.terminate_child(sup.start_child(ChildSpec(Idle)))
            took.append(time.perf_counter() - began)
        return min(took)


def test_starting_and_stopping_a_child_costs_the_same_among_thousands():
    with System("greenlets") as system:
        few, many = system.start(DynamicSupervisor), system.start(DynamicSupervisor)
        driver = system.start(Driver)
        among_thousands = driver.ask((many, 10_000), timeout=50)
        assert many.count_children().active == 10_000
        assert among_thousands < 3 * driver.ask((few, 10), timeout=50)
