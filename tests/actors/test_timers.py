"""Timers: when they fire, what becomes of them when their actor is slow, cancels them or ends."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from actors import Actor, ChildSpec, RealClock, SpecError, Supervisor, System, WouldBlock
from actors.testing import ManualClock, Probe, assert_actor_state, crash


class Ticking(Actor):
    """Notes when each message came, by the clock."""

    def init(self, *timers):
        self.seen = []
        self.timers = [getattr(self, verb)(seconds, message) for verb, seconds, message in timers]

    def receive(self, message):
        if callable(message):
            return message(self)
        self.seen.append((self.clock.monotonic(), message))
        return None


def seen(ref):
    return ref.ask(lambda actor: actor.seen)


def test_send_after_fires_once_at_its_instant(system, clock):
    ref = system.start(Ticking, ("send_after", 1.5, "x"))
    clock.advance(1.4)
    assert seen(ref) == []
    clock.advance(10)
    assert seen(ref) == [(1.5, "x")]


def test_send_every_does_not_drift(system, clock):
    ref = system.start(Ticking, ("send_every", 0.1, "x"))
    clock.advance(1000)
    times = [at for at, _ in seen(ref)]
    assert len(times) == 10_000 and times[-1] == 1000


def test_timers_fire_in_order_of_due_time_then_of_arming(system, clock):
    probe = Probe(system)
    for delay, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
        clock.call_after(delay, lambda name=name: probe.ref.tell(name))
    clock.advance(2)
    assert probe.messages == ["a", "b", "c", "d"]


def test_what_a_timer_causes_ends_before_the_next_fires(system, clock):
    log = []

    class Chain(Actor):
        def receive(self, message):
            log.append(message)
            if message > 0:
                self.ref.tell(message - 1)

    ref = system.start(Chain)
    clock.call_after(1, lambda: ref.tell(3))
    clock.call_after(1, lambda: log.append("next"))
    clock.advance(1)
    assert log == [3, 2, 1, 0, "next"]


def test_a_cancelled_timer_does_not_come_even_from_the_mailbox(system, clock):
    ref = system.start(Ticking, ("send_after", 1, "x"), ("send_every", 1, "y"))
    gate = system.future()
    ref.tell(lambda actor: (gate.get(timeout=5), [actor.cancel(timer) for timer in actor.timers]))
    ref.cell.system.clock.call_after(2, gate.set)
    clock.advance(5)
    assert seen(ref) == []
    ref.ask(lambda actor: [actor.cancel(timer) for timer in actor.timers])


def test_ticks_missed_by_a_slow_actor_are_coalesced_and_counted(system, clock):
    ref = system.start(Ticking, ("send_every", 1, "x"))
    gate = system.future()
    ref.tell(lambda actor: gate.get(timeout=20))
    clock.advance(5)
    gate.set()
    assert len(seen(ref)) == 1
    assert ref.ask(lambda actor: actor.timers[0].coalesced) == 4
    clock.advance(1)
    assert len(seen(ref)) == 2


def test_timers_end_with_their_actor_and_never_reach_its_successor(system, clock):
    probe = Probe(system)

    class Child(Actor):
        def init(self):
            self.send_after(1, "mine")
            self.send_every(1, "mine too")

        def receive(self, message):
            probe.ref.tell((message, id(self)))

    ref = system.start(Supervisor, children=[ChildSpec(Child, id="a")]).child("a")
    crash(ref)
    clock.advance(1)
    successor = ref.ask(lambda *_: None, block=False) and id(ref.cell.actor)
    assert {owner for _, owner in probe.messages if not callable(_)} == {successor}


def test_timers_of_an_ended_actor_are_gone(system, clock):
    ref = system.start(Ticking, ("send_every", 1, "x"))
    ref.stop()
    clock.advance(10)
    assert clock._timers.first_due() is None


@pytest.mark.parametrize(("verb", "seconds"), [("send_after", -1), ("send_every", 0), ("send_every", -2)])
def test_impossible_times_are_refused(system, verb, seconds):
    with pytest.raises(SpecError, match="expected"):
        system.start(Ticking, (verb, seconds, "x"))


def test_real_timers_fire(real):
    probe = Probe(real)

    class Soon(Actor):
        def init(self):
            self.send_after(0.01, "x")

        def receive(self, message):
            probe.ref.tell(message)

    real.start(Soon)
    assert probe.expect("x") == "x"


def test_a_real_clock_keeps_its_thread_until_it_is_closed():
    clock, fired = RealClock(), threading.Semaphore(0)
    before = set(threading.enumerate())
    for _ in range(2):
        clock.call_after(0, fired.release)
        assert fired.acquire(timeout=20)
        forgotten = clock.call_after(3600, fired.release)
        assert [thread.name for thread in set(threading.enumerate()) - before] == ["actors-clock"]
        clock.close(timeout=20)
        assert set(threading.enumerate()) <= before
        forgotten.cancel()
    clock.close()


def test_a_system_that_stopped_leaves_no_thread(backend):
    before = set(threading.enumerate())
    with System(backend=backend) as system:
        ended = Probe(system)
        system.start(Ticking, ("send_after", 0, "x"), ("send_after", 3600, "y"))
        ended.refute()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_a_manual_clock_knows_its_instant():
    clock = ManualClock(datetime(2025, 3, 1, tzinfo=UTC))
    instants = []
    clock.call_after(60, lambda: instants.append(clock.now()))
    clock.advance(timedelta(hours=1))
    assert instants == [datetime(2025, 3, 1, 0, 1, tzinfo=UTC)]
    assert clock.now() == datetime(2025, 3, 1, 1, tzinfo=UTC) and clock.monotonic() == 3600
    clock.set_wall(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2030, 1, 1, tzinfo=UTC) and clock.monotonic() == 3600


def test_a_manual_clock_refuses_naive_instants_and_going_back():
    with pytest.raises(SpecError, match="aware"):
        ManualClock(datetime(2025, 1, 1))
    with pytest.raises(SpecError, match="0 up"):
        ManualClock().advance(-1)


def test_advancing_in_an_actor_is_an_error(system, clock):
    ref = system.start(Ticking)
    with pytest.raises(WouldBlock, match="advance"):
        ref.ask(lambda actor: clock.advance(1))


def test_advance_waits_for_work_outside_and_leaves_out_what_hangs(backend):
    from actors import System

    clock = ManualClock(stall=0.05)
    with System(backend, clock=clock) as system:
        probe = Probe(system)
        hung = system.work.begin("a call that hangs")
        finished = system.work.begin("a call that ends")
        system.backend.real.call_after(0.01, lambda: (probe.ref.tell("ended"), finished.end()))
        clock.call_after(1, lambda: probe.ref.tell("timer"))
        clock.advance(1)
        assert probe.messages == ["ended", "timer"]
        hung.end()
        assert system.work.units == 0


def test_two_systems_share_a_clock(backend, clock):
    from actors import System

    with System(backend, clock=clock) as first, System("threads", clock=clock) as second:
        probe = Probe(second)

        class Relay(Actor):
            def init(self):
                self.send_every(1, "x")

            def receive(self, message):
                probe.ref.tell(self.clock.monotonic())

        first.start(Relay)
        clock.advance(5)
        assert probe.messages == [1, 2, 3, 4, 5]


def test_an_actor_that_hangs_holds_time_up_only_for_the_stall(backend):
    from actors import System

    clock = ManualClock(stall=0.02)
    with System(backend, clock=clock) as system:
        probe = Probe(system)
        gate = system.future()
        stuck = system.start(Ticking)
        stuck.tell(lambda actor: gate.get())
        for second in range(1, 51):
            clock.call_after(second, lambda second=second: probe.ref.tell(second))
        clock.advance(50)
        assert probe.messages == list(range(1, 51))
        gate.set()
        assert_actor_state(stuck, lambda actor: actor.seen == [])
        assert system.work.wait_idle(5)
