"""Links and monitors: who hears of an end, exactly once."""

from __future__ import annotations

import threading

import pytest

from actors import Actor, ActorError, ChildSpec, Down, Exit, Supervisor
from actors.testing import Probe, crash


class Tied(Actor):
    """Links itself to, or monitors, what it is told."""

    def init(self, trap=False):
        self.trap_exit = trap
        self.seen = []

    def receive(self, message):
        if isinstance(message, tuple):
            verb, argument = message
            return getattr(self, verb)(argument)
        if isinstance(message, BaseException):
            raise message
        if message == "seen":
            return list(self.seen)
        self.seen.append(message)
        return None


def test_a_monitor_hears_of_each_kind_of_end(system, counter):
    probe = Probe(system)
    error = ValueError("x")
    for end, reason in (
        (lambda r: r.stop(), "normal"),
        (lambda r: crash(r, error), error),
        (lambda r: r.cell.kill(), "killed"),
    ):
        ref = system.start(counter)
        probe.monitor(ref)
        end(ref)
        down = probe.expect(Down)
        assert (down.ref, down.reason) == (ref, reason)
    assert len(probe.messages) == 3


def test_monitoring_something_dead_answers_at_once(system, counter):
    ref = system.start(counter)
    ref.stop()
    probe = Probe(system)
    probe.monitor(ref)
    assert probe.expect(Down).reason == "normal"


def test_down_comes_after_what_the_actor_told_before(system):
    probe = Probe(system)

    class Last(Actor):
        def receive(self, message):
            probe.ref.tell("last words")
            self.stop()

    ref = system.start(Last)
    probe.monitor(ref)
    ref.tell("go")
    probe.expect(Down)
    assert [type(m) for m in probe.messages] == [str, Down]


def test_demonitor_takes_back_even_what_waits_in_the_mailbox(system, counter):
    watcher, target = system.start(Tied), system.start(counter)
    gate = system.future()

    class Holding(Tied):
        def receive(self, message):
            if message == "hold":
                token = self.monitor(target)
                gate.get(timeout=5)
                return self.demonitor(token)
            return super().receive(message)

    watcher = system.start(Holding)
    held = watcher.ask("hold", block=False)
    system.start(Tied).ask(("monitor", target))
    target.stop()
    gate.set()
    held.get(timeout=5)
    assert watcher.ask("seen") == []


def test_each_monitor_gets_its_own_down(system, counter):
    ref, watcher = system.start(counter), system.start(Tied)
    tokens = [watcher.ask(("monitor", ref)) for _ in range(3)]
    watcher.ask(("demonitor", tokens[1]))
    ref.stop()
    system.work.wait_idle(5)
    assert [down.token for down in watcher.ask("seen")] == [tokens[0], tokens[2]]


def test_a_watch_from_outside_is_called_once(system, counter):
    ref, seen = system.start(counter), []
    system.watch(ref, seen.append)
    system.unwatch(system.watch(ref, seen.append))
    ref.stop()
    system.work.wait_idle(5)
    assert [down.reason for down in seen] == ["normal"]
    system.watch(ref, seen.append)
    system.work.wait_idle(5)
    assert len(seen) == 2


def test_linked_actors_end_together_unless_the_reason_is_normal(system):
    first, second, third = (system.start(Tied) for _ in range(3))
    first.ask(("link", second))
    second.ask(("link", third))
    third.ask(("stop", "normal"))
    system.work.wait_idle(5)
    assert first.is_alive() and second.is_alive()
    probe = Probe(system)
    probe.monitor(second)
    error = ValueError("x")
    crash(first, error)
    assert probe.expect(Down).reason is error


def test_shutdown_passes_over_links_too(system):
    first, second = system.start(Tied), system.start(Tied)
    probe = Probe(system)
    probe.monitor(second)
    first.ask(("link", second))
    first.stop(reason="shutdown")
    assert probe.expect(Down).reason == "shutdown"


def test_who_traps_exits_gets_a_message(system):
    first, trapping = system.start(Tied), system.start(Tied, True)
    trapping.ask(("link", first))
    error = ValueError("x")
    crash(first, error)
    system.work.wait_idle(5)
    assert trapping.ask("seen") == [Exit(first, error)]


def test_an_unlinked_actor_lives_on(system):
    first, second = system.start(Tied), system.start(Tied)
    first.ask(("link", second))
    first.ask(("unlink", second))
    crash(first)
    system.work.wait_idle(5)
    assert second.is_alive()


def test_linking_something_dead_ends_the_linking_one_with_its_reason(system, counter):
    dead, alive = system.start(counter), system.start(Tied)
    crash(dead, ValueError("gone"))
    probe = Probe(system)
    probe.monitor(alive)
    alive.tell(("link", dead))
    assert str(probe.expect(Down).reason) == "gone"


def test_an_actor_cannot_link_itself(system):
    ref = system.start(Tied)
    with pytest.raises(ActorError, match="itself"):
        ref.ask(("link", ref))


def test_a_monitor_of_a_supervised_name_hears_of_the_present_incarnation(system, counter):
    ref = system.start(Supervisor, children=[ChildSpec(counter, id="a")]).child("a")
    probe = Probe(system)
    probe.monitor(ref)
    crash(ref)
    crash(ref)
    system.work.wait_idle(5)
    assert [down.ref for down in probe.messages] == [ref]


@pytest.mark.concurrent
def test_no_down_is_lost_or_doubled_when_monitor_and_end_race(real, counter):
    probe = Probe(real)
    for _ in range(100):
        ref = real.start(counter)
        racers = [threading.Thread(target=probe.monitor, args=(ref,)), threading.Thread(target=ref.stop)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        assert probe.expect(Down).ref == ref
    assert len(probe.messages) == 100
