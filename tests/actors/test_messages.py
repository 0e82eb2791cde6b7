"""Messages: tell, ask, order, errors, answers that come later."""

from __future__ import annotations

import pickle
import queue
import threading

import pykka
import pytest

from actors import (
    Actor,
    ActorDeadError,
    ActorRef,
    AskCycleError,
    AskTimeout,
    ChildSpec,
    ChildStartError,
    MailboxFull,
    SpecError,
    Supervisor,
    System,
    SystemStopped,
    WouldBlock,
)
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


def test_a_ref_has_what_pykkas_ref_has(system, counter):
    plain = system.start(counter)
    named = system.start(Supervisor, children=[ChildSpec(counter, id="a")]).child("a")
    for ref in (plain, named):
        assert ref.actor_class is counter and ref.actor_urn.startswith("urn:")
        assert not ref.actor_stopped.is_set() and len(ref.actor_inbox) == 0
        assert isinstance(ref._actor_weakref(), counter)
        assert ref.proxy().count.get(timeout=5) == 0
        with pytest.raises(AttributeError, match="nothing_of_the_kind"):
            ref.nothing_of_the_kind  # noqa: B018 - the look is the test
    plain.stop()
    assert plain.actor_stopped.is_set()
    with pytest.raises(pykka.ActorDeadError):
        plain.proxy()


def test_an_actor_is_started_by_its_system_alone(counter):
    with pytest.raises(TypeError, match="system.start"):
        counter.start()


def test_errors_survive_pickling():
    for error in (
        ActorDeadError("/a", "killed"),
        AskTimeout("/a", 1.5),
        AskCycleError(("/a", "/b", "/a")),
        ChildStartError("a", ValueError("x")),
        MailboxFull("/a", 3, "refuse"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_futures_are_settled_once(system):
    future = system.future()
    future.set_exception(ValueError("first"))
    with pytest.raises(queue.Full):
        future.set(1)
    with pytest.raises(queue.Full):
        future.set_exception(KeyError())
    assert future.offer(2) is False and future.done and future.value is None
    with pytest.raises(ValueError, match="first"):
        future.get()


def test_a_stopped_system_starts_nothing_and_cannot_be_stopped_from_inside(system, counter):
    ref = system.start(counter)
    with pytest.raises(WouldBlock, match="from outside"):
        system.start(counter).ask(lambda actor: actor.system.stop())
    assert system.stop() is True and system.stop() is True and system.stopped
    with pytest.raises(SystemStopped, match="Counter"):
        system.start(counter)
    with pytest.raises(ActorDeadError, match="shutdown"):
        ref.tell(1)


@pytest.mark.parametrize("options", [{"backend": "fibers"}, {"blocked_after": 0}, {"clock": "noon"}])
def test_bad_options_of_a_system_are_refused(options):
    before = threading.active_count()
    with pytest.raises(SpecError, match="expected"):
        System(**options)
    assert threading.active_count() <= before, "nothing is left half started"
