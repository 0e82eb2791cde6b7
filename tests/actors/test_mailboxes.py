"""Mailboxes: bounds and their policies, priority of what the system sends, ask cycles."""

from __future__ import annotations

import threading

import pytest

from actors import (
    Actor,
    ActorDeadError,
    AskCycleError,
    ChildSpec,
    Mailbox,
    MailboxFull,
    SpecError,
    Supervisor,
    WouldBlock,
)
from actors.testing import Probe, crash


class Slow(Actor):
    """Waits for its gate in the first message, and notes the others."""

    def init(self, gate, entered):
        self.gate, self.entered, self.seen = gate, entered, []

    def receive(self, message):
        if message == "hold":
            self.entered.set()
            return self.gate.get(timeout=20)
        if callable(message):
            return message(self)
        self.seen.append(message)
        return message


@pytest.fixture
def held(system):
    """Starts an actor with a bounded mailbox, held in its first message; returns its ref and the gate."""

    def start(size, overflow):
        gate, entered = system.future(), system.future()
        ref = system.spawn(ChildSpec(Slow, args=(gate, entered), mailbox=Mailbox(size, overflow)))
        ref.tell("hold")
        entered.get(timeout=5)
        return ref, gate

    return start


def seen(ref):
    ref.cell.system.work.wait_idle(5)
    return ref.ask(lambda actor: actor.seen, timeout=5)


def row(system, ref):
    return next(row for row in system.tree() if row.path == ref.path)


def test_refuse_raises_in_the_sender(held):
    ref, gate = held(2, "refuse")
    ref.tell(1)
    ref.tell(2)
    with pytest.raises(MailboxFull, match="2 messages wait; its policy is refuse"):
        ref.tell(3)
    with pytest.raises(MailboxFull):
        ref.ask(3)
    assert ref.cell.counters()["refused"] == 2
    gate.set()
    assert seen(ref) == [1, 2]


def test_drop_newest_keeps_what_waits(system, held):
    ref, gate = held(2, "drop_newest")
    for number in range(5):
        ref.tell(number)
    with pytest.raises(MailboxFull):
        ref.ask(9)
    assert row(system, ref).dropped == 4
    gate.set()
    assert seen(ref) == [0, 1]


def test_drop_oldest_keeps_what_is_new_and_fails_lost_asks(system, held):
    ref, gate = held(2, "drop_oldest")
    lost = ref.ask(0, block=False)
    for number in range(1, 5):
        ref.tell(number)
    with pytest.raises(MailboxFull):
        lost.get(timeout=5)
    assert row(system, ref).dropped == 3
    gate.set()
    assert seen(ref) == [3, 4]


def test_block_lets_senders_wait_in_order_and_loses_nothing(system, held):
    ref, gate = held(1, "block")
    senders = [threading.Thread(target=lambda n=n: [ref.tell((n, i)) for i in range(50)]) for n in range(3)]
    for sender in senders:
        sender.start()
    gate.set()
    for sender in senders:
        sender.join(10)
    messages = seen(ref)
    assert all([m for m in messages if m[0] == n] == [(n, i) for i in range(50)] for n in range(3))
    assert ref.cell.counters()["blocked"] > 0


def test_actors_that_send_to_a_full_mailbox_wait_too(system, held):
    ref, gate = held(1, "block")

    class Sender(Actor):
        def receive(self, message):
            for number in range(10):
                ref.tell(number)
            return "all in"

    answer = system.start(Sender).ask("go", block=False)
    gate.set()
    assert answer.get(timeout=5) == "all in"
    assert seen(ref) == list(range(10))


def test_an_actor_may_not_wait_for_its_own_mailbox(held):
    ref, gate = held(1, "block")
    ref.tell(lambda actor: None)
    answer = ref.ask(lambda actor: [actor.ref.tell(1) for _ in range(2)], block=False)
    gate.set()
    with pytest.raises(WouldBlock, match="itself"):
        answer.get(timeout=5)


def test_blocked_senders_hear_of_the_end(system, held):
    ref, gate = held(1, "block")
    ref.tell(1)
    failures = []

    def send():
        try:
            ref.tell(2)
        except ActorDeadError as error:
            failures.append(error.reason)

    sender = threading.Thread(target=send)
    sender.start()
    ref.cell.kill()
    sender.join(10)
    assert failures == ["killed"]
    gate.set()


def test_what_the_system_sends_is_never_bounded(system, clock, held, counter):
    ref, gate = held(1, "refuse")
    ref.tell(1)
    other = system.start(counter)
    gate.set()
    system.work.wait_idle(5)
    ref.ask(lambda actor: (actor.send_after(1, "tick"), actor.monitor(other)) and None)
    clock.advance(1)
    other.stop()
    system.work.wait_idle(5)
    assert len(seen(ref)) == 3


@pytest.mark.parametrize(("size", "overflow"), [(0, "block"), (-1, "block"), (5, "explode"), ("many", "block")])
def test_impossible_bounds_are_refused(size, overflow):
    with pytest.raises(SpecError):
        Mailbox(size, overflow)


def test_a_flooded_actor_still_answers_describe_and_stops(real):
    class Flooded(Actor):
        def init(self):
            self.handled = 0

        def receive(self, message):
            self.handled += 1
            self.ref.tell(message)
            if self.handled < 100_000:
                self.ref.tell(message)

    ref = real.start(Flooded)
    ref.tell("flood")
    assert ref.describe(timeout=5)["handled"]
    assert ref.stop(timeout=5) is True


def test_a_flooded_supervisor_supervises(real, counter):
    class Quiet(Supervisor):
        def handle(self, message):
            return None if message == "noise" else super().handle(message)

    sup = real.start(Quiet, children=[ChildSpec(counter, id="a")])
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            sup.tell("noise")

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        crash(sup.child("a"))
        assert sup.child("a").ask(1, timeout=5) == 1
    finally:
        stop.set()
        flooding.join()


class Asking(Actor):
    """Asks whom it is told to."""

    def receive(self, message):
        return message[0].ask(message[1:], timeout=20) if message else "end"


def test_an_actor_that_asks_itself_is_refused(system):
    ref = system.start(Asking)
    with pytest.raises(AskCycleError) as cycle:
        ref.ask((ref,))
    assert cycle.value.path == (ref.path, ref.path)


def test_a_cycle_over_several_is_refused_and_shown(system):
    a, b, c = (system.start(Asking) for _ in range(3))
    assert a.ask((b, c)) == "end"
    with pytest.raises(AskCycleError) as cycle:
        a.ask((b, c, a))
    assert cycle.value.path == (c.path, a.path, b.path, c.path)
    assert f"{c.path} -> {a.path} -> {b.path} -> {c.path}" in str(cycle.value)


def test_two_that_ask_each_other_at_once_are_refused(real):
    for _ in range(20):
        meeting = threading.Barrier(2) if real.backend_name == "threads" else None

        class Meeting(Actor):
            def receive(self, message, meeting=meeting):
                if message is None:
                    return "answer"
                if meeting is not None:
                    meeting.wait(5)
                return message.ask(None, timeout=20)

        a, b = real.start(Meeting), real.start(Meeting)
        outcomes = [a.ask(b, block=False), b.ask(a, block=False)]
        errors = []
        for outcome in outcomes:
            try:
                outcome.get(timeout=10)
            except (AskCycleError, ActorDeadError) as error:
                errors.append(type(error))
        assert AskCycleError in errors or real.backend_name == "greenlets"


def test_a_child_that_asks_its_supervisor_in_init_is_refused(system):
    class Curious(Actor):
        def init(self, supervisor):
            supervisor[0].which_children()

    supervisor = []
    sup = system.start(Supervisor)
    supervisor.append(sup)
    with pytest.raises(Exception, match="could not be started") as failed:
        sup.start_child(ChildSpec(Curious, args=(supervisor,)))
    assert isinstance(failed.value.__cause__, AskCycleError)


def test_probes_answer(system):
    probe = Probe(system, answer=lambda message: message * 2)
    assert probe.ref.ask(21) == 42
    with pytest.raises(AssertionError, match="21"):
        probe.refute(21)
    probe.refute(5)
    with pytest.raises(AssertionError, match="expected 'never'"):
        probe.expect("never", timeout=0.01)
