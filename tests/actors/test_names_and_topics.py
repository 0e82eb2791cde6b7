"""The registry and the topics of a system."""

from __future__ import annotations

import pytest

from actors import ActorDeadError, ChildSpec, Mailbox, NameTaken, Supervisor
from actors.testing import Probe, crash


def test_a_name_stands_for_an_actor_until_it_ends(system, counter):
    ref = system.start(counter)
    system.registry.register("it", ref)
    system.registry.register("it", ref)
    assert system.registry.whereis("it") == ref and system.registry.names() == ("it",)
    ref.stop()
    system.work.wait_idle(5)
    assert system.registry.whereis("it") is None and system.registry.names() == ()


def test_a_taken_name_and_a_dead_actor_are_refused(system, counter):
    first, second = system.start(counter), system.start(counter)
    system.registry.register("it", first)
    with pytest.raises(NameTaken, match="'it'"):
        system.registry.register("it", second)
    system.registry.unregister("it")
    system.registry.unregister("it")
    system.registry.register("it", second)
    first.stop()
    with pytest.raises(ActorDeadError):
        system.registry.register("other", first)


def test_a_successor_takes_the_name_in_its_init(system):
    from actors import Actor

    class Named(Actor):
        def init(self):
            self.system.registry.register("it", self.ref)

    ref = system.start(Supervisor, children=[ChildSpec(Named, id="a")]).child("a")
    first = system.registry.whereis("it")
    crash(ref)
    assert system.registry.whereis("it") not in (None, first)


def test_what_is_published_reaches_each_subscriber_once(system):
    first, second, heard = Probe(system), Probe(system), []
    for _ in range(2):
        system.pubsub.subscribe("news", first.ref)
    system.pubsub.subscribe("news", second.ref)
    system.pubsub.subscribe("news", heard.append)
    assert system.pubsub.publish("news", 1) == 3
    assert system.pubsub.publish("other", 2) == 0
    system.pubsub.unsubscribe("news", heard.append)
    system.pubsub.unsubscribe("news", second.ref)
    system.pubsub.unsubscribe("news", second.ref)
    system.pubsub.publish("news", 3)
    system.work.wait_idle(5)
    assert (first.messages, second.messages, heard) == ([1, 3], [1], [1])


def test_a_subscription_ends_with_its_actor(system):
    probe = Probe(system)
    system.pubsub.subscribe("news", probe.ref)
    probe.ref.stop()
    system.work.wait_idle(5)
    assert system.pubsub.subscribers("news") == 0


def test_a_subscribed_name_survives_restarts_and_goes_when_its_child_goes(system, counter):
    sup = system.start(Supervisor, children=[ChildSpec(counter, id="a")])
    system.pubsub.subscribe("news", sup.child("a"))
    crash(sup.child("a"))
    assert system.pubsub.publish("news", 1) == 1
    sup.terminate_child("a")
    assert system.pubsub.publish("news", 1) == 0
    assert system.pubsub.subscribers("news") == 0


def test_a_subscriber_that_fails_or_is_full_stops_nobody(system, caplog):
    from actors import Actor

    gate, entered = system.future(), system.future()

    class Narrow(Actor):
        mailbox = Mailbox(1, "refuse")

        def receive(self, message):
            entered.offer(None)
            gate.get(timeout=20)

    narrow, probe = system.start(Narrow), Probe(system)
    narrow.tell(0)
    entered.get(timeout=5)
    narrow.tell(1)
    system.pubsub.subscribe("news", lambda message: 1 / 0)
    system.pubsub.subscribe("news", narrow)
    system.pubsub.subscribe("news", probe.ref)
    assert system.pubsub.publish("news", 2) == 2
    gate.set()
    assert probe.expect() == 2
    assert "a subscriber of 'news' failed" in caplog.text
