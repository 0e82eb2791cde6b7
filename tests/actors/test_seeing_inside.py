"""What a system shows: tree, events, traces, crash reports, blocked hubs, the pieces of the testing kit."""

from __future__ import annotations

import logging

import pytest

from actors import Actor, ActorDeadError, AskTimeout, ChildSpec, Supervisor, System
from actors.events import ActorCrashed, ActorStarted, ActorStopped, HubBlocked, MessageHandled, MessageLost
from actors.report import masked, shorten
from actors.testing import Probe, assert_actor_state, cast_and_sync, crash, delay_next, drop_next, failing_init


def test_the_tree_shows_each_actor_with_its_state(system, clock, counter):
    inner = {"children": [ChildSpec(counter, id="leaf")]}
    specs = [ChildSpec(Supervisor, id="inner", kwargs=inner), ChildSpec(counter, id="other", restart="transient")]
    sup = system.start(Supervisor, children=specs)
    clock.advance(10)
    sup.child("inner").child("leaf").tell(5)
    crash(sup.child("inner").child("leaf"))
    sup.terminate_child("other")
    (root,) = system.tree()
    rows = {row.name: row for row in root.walk()}
    assert [row.name for row in root.children] == ["inner", "other"]
    assert (rows["leaf"].cls, rows["leaf"].state, rows["leaf"].restarts) == ("Counter", "running", 1)
    assert rows["leaf"].path == f"{sup.path}/inner/leaf"
    assert rows["other"].state == "stopped" and rows["other"].age is None
    assert rows["inner"].age == 10
    assert "    leaf (Counter) running, restarts 1, mailbox 0" in str(root).splitlines()


def test_the_tree_shows_what_waits_and_what_came_last(system, clock, counter):
    gate, entered = system.future(), system.future()
    ref = system.start(counter)
    ref.tell(lambda actor: (entered.set(), gate.get(timeout=20)))
    entered.get(timeout=5)
    ref.tell(1)
    ref.tell(2)
    ref.ask(1, block=False)
    assert system.work.wait_idle(0.01) is False
    (row,) = system.tree()
    assert (row.mailbox, row.last_message, row.handled) == (3, "function", 1)
    gate.set()
    system.work.wait_idle(5)
    assert (system.tree()[0].mailbox, system.tree()[0].last_message) == (0, "int")
    clock.advance(10)
    ref.ask(1)
    (row,) = system.tree()
    assert (row.last_message_at, row.age) == (clock.monotonic(), 10)
    clock.advance(5)
    assert system.tree()[0].last_message_at == clock.monotonic() - 5


def test_starts_ends_and_lost_messages_are_events(system, counter):
    events = []
    subscription = system.events.subscribe(events.append)
    ref = system.start(counter)
    gate = system.future()
    ref.tell(lambda actor: gate.get(timeout=5))
    ref.tell("stop")
    ref.tell(1)
    gate.set()
    system.work.wait_idle(5)
    other = system.start(counter)
    error = ValueError("x")
    crash(other, error)
    assert events == [
        ActorStarted(ref.path, "Counter"),
        ActorStopped(ref.path, "normal"),
        MessageLost(ref.path, "int"),
        ActorStarted(other.path, "Counter"),
        ActorCrashed(other.path, error, None),
    ]
    subscription.cancel()
    subscription.cancel()
    system.start(counter)
    assert len(events) == 5


def test_a_listener_that_fails_is_logged_and_others_hear(system, counter, caplog):
    heard = []
    system.events.subscribe(lambda event: 1 / 0)
    system.events.subscribe(heard.append)
    system.start(counter)
    assert len(heard) == 1 and "a listener of events failed" in caplog.text


def test_a_traced_actor_reports_each_message(system, counter):
    events = []
    system.events.subscribe(events.append)
    ref = system.start(counter)
    system.trace(ref)
    ref.ask(1)
    ref.ask(2)
    system.trace(ref, on=False)
    ref.ask(3)
    traced = [event for event in events if isinstance(event, MessageHandled)]
    assert [event.message for event in traced] == [1, 2] and all(event.duration >= 0 for event in traced)


def test_a_crash_is_logged_once_with_message_and_state_and_without_secrets(system, caplog):
    class Secretive(Actor):
        def init(self):
            self.password = "hunter2"
            self.rows = "x" * 10_000
            self.url = "postgresql://ann:hunter2@host/db"

        def receive(self, message):
            raise ValueError("broken")

    ref = system.start(Secretive)
    with pytest.raises(ValueError, match="broken"):
        ref.ask({"order": 7, "token": "hunter2"})
    system.work.wait_idle(5)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    text = record.getMessage()
    assert "'order': 7" in text and "hunter2" not in text and "***" in text
    assert len(text) < 2000 and record.exc_info[1].args == ("broken",)


def test_describe_that_fails_does_not_hide_the_crash(system, caplog):
    class Shy(Actor):
        def describe(self):
            raise LookupError

        def receive(self, message):
            raise ValueError("the real one")

    ref = system.start(Shy)
    ref.tell(1)
    system.work.wait_idle(5)
    assert "the real one" in caplog.text and "describe raised LookupError" in caplog.text
    with pytest.raises(ActorDeadError):
        ref.describe(timeout=5)


def test_reports_are_short_whatever_they_are_about():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    assert shorten(Rude()) == "<Rude, whose repr raised RuntimeError>"
    assert len(str(masked({str(n): "x" * 1000 for n in range(1000)}))) < 6000
    assert masked({"a": {"b": {"c": {"d": 1}}}}) == {"a": {"b": {"c": "<1 items>"}}}
    assert masked([[[[1]]]]) == [[["<1 items>"]]]
    assert masked({"api_key": 1, "Authorization": 2, "plain": 3}) == {
        "api_key": "***",
        "Authorization": "***",
        "plain": "3",
    }


def test_a_blocked_hub_is_reported_with_actor_and_stack(caplog):
    import threading

    release, reported = threading.Event(), threading.Event()
    with System("greenlets", blocked_after=0.05) as system:
        events = []

        def listen(event):
            if isinstance(event, HubBlocked):
                events.append(event)
                reported.set()

        system.events.subscribe(listen)

        class Blocking(Actor):
            def receive(self, message):
                self.hold_everything_up()

            def hold_everything_up(self):
                release.wait(20)

        ref = system.start(Blocking)
        ref.tell("go")
        assert reported.wait(10)
        release.set()
        system.work.wait_idle(5)
    assert events[0].path == ref.path and "hold_everything_up" in events[0].stack and events[0].seconds >= 0.05
    assert len(events) == 1 and "hold_everything_up" in caplog.text


def test_a_hub_that_waits_is_not_blocked():
    reports = []
    with System("greenlets", blocked_after=0.02) as system:
        system.events.subscribe(lambda event: reports.append(event) if isinstance(event, HubBlocked) else None)
        gate = system.future()

        class Waiting(Actor):
            def receive(self, message):
                gate.get(timeout=20)

        system.start(Waiting).tell("go")
        system.backend.real.call_after(0.1, gate.set)
        assert system.work.wait_idle(5)
    assert reports == []


def test_the_state_of_an_actor_can_be_checked(system, counter):
    ref = system.start(counter, 3)
    assert cast_and_sync(ref, 4) == 7
    assert_actor_state(ref, lambda actor: actor.count == 7)
    with pytest.raises(AssertionError, match="'count': 7"):
        assert_actor_state(ref, lambda actor: actor.count == 8)
    assert ref.is_alive()


def test_messages_can_be_dropped_and_delayed(system, clock, counter):
    ref = system.start(counter)
    drop_next(ref, fits=lambda message: message == 5)
    lost = ref.ask(5, block=False)
    assert ref.ask(1) == 1
    with pytest.raises(AskTimeout):
        lost.get(timeout=0.01)
    delay_next(ref, 10)
    late = ref.ask(2, block=False)
    assert ref.ask(3) == 4
    clock.advance(10)
    assert late.get(timeout=5) == 6


def test_an_init_can_be_made_to_fail(system, counter):
    fails = failing_init(counter, 2, LookupError("on purpose"))
    for _ in range(2):
        with pytest.raises(LookupError, match="on purpose"):
            system.start(fails)
    assert system.start(fails, 3).ask(0) == 3
    assert isinstance(Probe(system).ref.path, str)


def test_crash_wants_somebody_alive(system, counter):
    ref = system.start(counter)
    ref.stop()
    with pytest.raises(AssertionError, match="living"):
        crash(ref)
