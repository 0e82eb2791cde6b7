"""Asks between actors: what holds whether or not the asked actor takes its turn at once."""

import threading

import pytest

from actors import Actor, ActorDeadError, AskCycleError, AskTimeout, ChildSpec, Mailbox, Supervisor
from actors.testing import crash

TIMEOUT = 10


class Doing(Actor):
    """Calls what it is sent, with itself."""

    def receive(self, message):
        return message(self)


@pytest.fixture
def pair(system):
    return system.start(Doing), system.start(Doing)


def test_the_answer_of_an_idle_actor_comes_back(pair):
    asker, asked = pair
    answers = asker.ask(lambda _: [asked.ask(lambda _, n=n: n) for n in range(100)], timeout=TIMEOUT)
    assert answers == [*range(100)]


def test_an_asker_gets_what_the_asked_actor_raised(pair):
    asker, asked = pair

    def fail(_):
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        asker.ask(lambda _: asked.ask(fail), timeout=TIMEOUT)
    assert not asked.is_alive()


def test_the_asked_actor_may_wait_while_others_go_on(system, pair):
    asker, asked = pair
    gate, other = system.future(), system.start(Doing)
    answer = asker.ask(lambda _: asked.ask(lambda _: gate.get()), block=False)
    assert other.ask(lambda _: "goes on", timeout=TIMEOUT) == "goes on"
    gate.set("at last")
    assert answer.get(timeout=TIMEOUT) == "at last"


def test_an_ask_times_out_by_the_clock_and_its_late_answer_goes_nowhere(system, clock, pair):
    asker, asked = pair
    gate, second = system.future(), []

    def ask(_):
        with pytest.raises(AskTimeout):
            asked.ask(lambda _: gate.get(), timeout=5)
        gate.set("late")
        second.append(asked.ask(lambda _: "in time", timeout=5))

    answer = asker.ask(ask, block=False)
    clock.advance(5)
    answer.get(timeout=TIMEOUT)
    assert second == ["in time"]


def test_a_killed_asker_is_gone_and_the_asked_actor_lives(system, pair):
    asker, asked = pair
    gate, reached = system.future(), system.future()

    def wait(_):
        reached.set()
        return gate.get()

    answer = asker.ask(lambda _: asked.ask(wait), block=False)
    reached.get(timeout=TIMEOUT)
    asker.cell.kill()
    with pytest.raises(ActorDeadError, match="killed"):
        answer.get(timeout=TIMEOUT)
    gate.set()
    assert asked.ask(lambda _: "alive", timeout=TIMEOUT) == "alive"


def test_a_killed_actor_that_was_asked_answers_with_its_end(system, pair):
    asker, asked = pair
    gate, reached = system.future(), system.future()

    def wait(_):
        reached.set()
        return gate.get()

    answer = asker.ask(lambda _: asked.ask(wait), block=False)
    reached.get(timeout=TIMEOUT)
    asked.cell.kill()
    with pytest.raises(ActorDeadError, match="killed"):
        answer.get(timeout=TIMEOUT)
    gate.set()


def test_an_asker_of_a_dead_actor_gets_its_reason_and_goes_on(pair):
    asker, asked = pair
    asked.stop()

    def ask(_):
        with pytest.raises(ActorDeadError):
            asked.ask(lambda _: 1)
        return "goes on"

    assert asker.ask(ask, timeout=TIMEOUT) == "goes on"
    assert asker.ask(lambda _: "again", timeout=TIMEOUT) == "again"


def test_an_answer_may_come_later_from_another_thread(pair):
    asker, asked = pair

    def later(actor):
        answer = actor.defer()
        threading.Thread(target=answer.set, args=("from a thread",)).start()

    assert asker.ask(lambda _: asked.ask(later), timeout=TIMEOUT) == "from a thread"


def test_an_actor_that_answers_early_goes_on_beside_its_asker(system, pair):
    asker, asked = pair
    gate = system.future()

    def early(actor):
        actor.defer().set("early")
        return gate.get()

    def ask(_):
        answer = asked.ask(early)
        gate.set()
        return answer

    assert asker.ask(ask, timeout=TIMEOUT) == "early"


def test_what_was_told_before_is_handled_before_what_is_asked(system, pair):
    asker, asked = pair
    log = []

    def ask(_):
        for number in range(3):
            asked.tell(lambda _, number=number: log.append(number))
        return asked.ask(lambda _: list(log))

    assert asker.ask(ask, timeout=TIMEOUT) == [0, 1, 2]


def test_a_long_chain_of_asks_is_answered_and_its_cycle_refused(system):
    refs = [system.start(Doing) for _ in range(50)]

    def through(index, last):
        return lambda _: refs[index].ask(through(index + 1, last)) if index < len(refs) else last()

    assert refs[0].ask(through(1, lambda: "end"), timeout=TIMEOUT) == "end"
    with pytest.raises(AskCycleError):
        refs[0].ask(through(1, lambda: refs[0].ask(lambda _: 1)), timeout=TIMEOUT)


def test_two_that_ask_each_other_all_the_time_let_others_in(system, pair):
    asker, asked = pair
    stop = threading.Event()

    def ask(_):
        count = 0
        while not stop.is_set():
            count += asked.ask(lambda _: 1)
        return count

    answer = asker.ask(ask, block=False)
    other = system.start(Doing)
    assert [other.ask(lambda _, n=n: n, timeout=TIMEOUT) for n in range(20)] == [*range(20)]
    stop.set()
    assert answer.get(timeout=TIMEOUT) > 0


def test_an_ask_by_name_reaches_the_successor(system, pair):
    asker, _ = pair
    sup = system.start(Supervisor, children=[ChildSpec(Doing, id="a")])
    name = sup.child("a")
    assert asker.ask(lambda _: name.ask(lambda _: 1), timeout=TIMEOUT) == 1
    crash(name)
    assert asker.ask(lambda _: name.ask(lambda _: 2), timeout=TIMEOUT) == 2


def test_an_ask_of_a_bounded_mailbox_waits_for_room(system, pair):
    asker, _ = pair
    bounded = system.spawn(ChildSpec(Doing, id="bounded", mailbox=Mailbox(size=1)))
    assert asker.ask(lambda _: [bounded.ask(lambda _, n=n: n) for n in range(5)], timeout=TIMEOUT) == [*range(5)]
    gate = system.future()
    bounded.tell(lambda _: gate.get())
    bounded.tell(lambda _: None)
    answer = asker.ask(lambda _: bounded.ask(lambda _: "room"), block=False)
    gate.set()
    assert answer.get(timeout=TIMEOUT) == "room"


def test_an_asker_that_hung_is_counted_again_when_it_goes_on(system, pair):
    asker, asked = pair
    gate, last, reached = system.future(), system.future(), system.future()

    def ask(_):
        reached.set()
        gate.get()
        asked.ask(lambda _: last.get())

    answer = asker.ask(ask, block=False)
    reached.get(timeout=TIMEOUT)
    system.backend.forgive()
    assert system.work.wait_idle(TIMEOUT)
    gate.set()
    last.set()
    answer.get(timeout=TIMEOUT)
    assert system.work.wait_idle(TIMEOUT)
    assert asked.ask(lambda _: "counted", timeout=TIMEOUT) == "counted"
