"""Messages: tell, ask, order, errors, answers that come later."""

from __future__ import annotations

import threading

import pykka
import pytest

from actors import Actor, ActorDeadError, ActorRef, AskTimeout
from actors.testing import Probe, crash


def test_the_return_value_answers_an_ask(system, counter):
    ref = system.start(counter, 1)
    assert ref.ask(2) == 3
    assert ref.ask(2, block=False).get(timeout=5) == 5


def test_messages_of_one_sender_keep_their_order(system):
    probe = Probe(system)
    for number in range(2000):
        probe.ref.tell(number)
    system.work.wait_idle(5)
    assert probe.messages == list(range(2000))


def test_failing_init_fails_start_with_its_error_and_leaves_nothing(system):
    class Bad(Actor):
        def init(self):
            raise LookupError("no")

        def terminate(self, reason):
            raise AssertionError("terminate must not run after a failed init")

    with pytest.raises(LookupError, match="no"):
        system.start(Bad)
    assert system.tree() == ()


def test_an_exception_ends_the_actor_and_reaches_the_asker(system, counter):
    ref = system.start(counter)
    with pytest.raises(KeyError):
        ref.ask(KeyError("x"))
    assert not ref.is_alive()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_base_exception_ends_its_actor_alone(system, counter, error):
    doomed, other = system.start(counter), system.start(counter)
    probe = Probe(system)
    probe.monitor(doomed)
    doomed.tell(error)
    assert probe.expect().reason is error
    assert other.ask(1) == 1


def test_tell_and_ask_of_an_ended_actor_name_its_reason(system, counter):
    ref = system.start(counter)
    error = ValueError("why")
    crash(ref, error)
    with pytest.raises(ActorDeadError, match="why") as told:
        ref.tell(1)
    assert told.value.reason is error
    with pytest.raises(ActorDeadError, match="why"):
        ref.ask(1)


def test_asks_still_in_the_mailbox_of_a_dying_actor_fail_with_its_reason(system, counter):
    ref = system.start(counter)
    gate = system.future()
    ref.tell(lambda actor: gate.get(timeout=5))
    ref.tell(ValueError("boom"))
    waiting = [ref.ask(1, block=False) for _ in range(3)]
    gate.set()
    for future in waiting:
        with pytest.raises(ActorDeadError, match="boom"):
            future.get(timeout=5)


def test_a_late_answer_goes_nowhere(real, counter):
    ref = real.start(counter)
    gate = real.future()
    future = ref.ask(lambda actor: gate.get(timeout=5), block=False)
    with pytest.raises(AskTimeout) as timed_out:
        future.get(timeout=0.01)
    assert isinstance(timed_out.value, TimeoutError) and isinstance(timed_out.value, pykka.Timeout)
    gate.set("late")
    assert ref.ask(1) == 1


def test_an_answer_can_be_given_later(system):
    class Later(Actor):
        def init(self):
            self.waiting = []

        def receive(self, message):
            if message == "ask":
                self.waiting.append(self.defer())
                return None
            return [reply.set(message) for reply in self.waiting]

    ref = system.start(Later)
    first, second = ref.ask("ask", block=False), ref.ask("ask", block=False)
    ref.tell("now")
    assert first.get(timeout=5) == second.get(timeout=5) == "now"
    dying = ref.ask("ask", block=False)
    crash(ref, ValueError("gone"))
    with pytest.raises(ActorDeadError, match="gone"):
        dying.get(timeout=5)


def test_actors_ask_each_other(system, counter):
    target = system.start(counter, 40)

    class Asker(Actor):
        def receive(self, message):
            return target.ask(message, timeout=5)

    assert system.start(Asker).ask(2) == 42


def test_futures_are_set_and_read_from_any_thread(system, counter):
    future = system.future()
    ref = system.start(counter)
    answer = ref.ask(lambda actor: future.get(timeout=5), block=False)
    threading.Thread(target=lambda: future.set("from outside")).start()
    assert answer.get(timeout=5) == future.get() == "from outside"
    assert future.map(len).get() == 12


def test_stop_handles_what_was_told_before_and_says_whether_it_was_alive(system):
    probe = Probe(system)
    probe.ref.tell(1)
    probe.ref.tell(2)
    assert probe.ref.stop() is True
    assert probe.messages == [1, 2]
    assert probe.ref.stop() is False


def test_an_actor_that_stops_itself_ends_normal(system, counter):
    ref = system.start(counter)
    probe = Probe(system)
    probe.monitor(ref)
    ref.tell("stop")
    assert probe.expect().reason == "normal"


def test_pykka_proxies_work_and_their_errors_leave_the_actor_alive(system):
    class Calculator(Actor):
        base = 10

        def add(self, number):
            return self.base + number

        def fail(self):
            raise ZeroDivisionError

    ref = system.start(Calculator)
    proxy = ref.proxy()
    assert proxy.add(1).get(timeout=5) == 11
    proxy.base = 20
    assert proxy.base.get(timeout=5) == 20
    with pytest.raises(ZeroDivisionError):
        proxy.fail().get(timeout=5)
    assert ref.is_alive() and isinstance(ref, pykka.ActorRef)


def test_pykka_callbacks_work(system):
    seen = []

    class Old(Actor):
        def on_start(self):
            seen.append("start")

        def on_receive(self, message):
            return message * 2

        def on_stop(self):
            seen.append("stop")

    ref = system.start(Old)
    assert ref.ask(21) == 42
    ref.stop()
    assert seen == ["start", "stop"]


def test_refs_are_equal_when_they_mean_the_same_actor(system, counter):
    ref = system.start(counter)
    assert ref == ActorRef(ref.cell) and hash(ref) == hash(ActorRef(ref.cell))
    assert ref != system.start(counter)


def test_terminate_runs_on_stop_and_crash(system, recorder):
    log, make = recorder
    stopped, crashed = system.start(make("a")), system.start(make("b"))
    stopped.stop()
    crash(crashed)
    assert [entry for entry in log if entry[0] == "terminate"] == [("terminate", "a"), ("terminate", "b")]
