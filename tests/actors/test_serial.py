"""The serial backend: nothing happens by itself, everything on one thread, and death is final."""

import threading

import pytest

from actors import Actor, ActorRef, System
from actors.clock import TimerHeap
from actors.errors import AskTimeout, ForkedSystem, WouldBlock
from actors.testing import ManualClock
from actors.testing.serial import SerialBackend


class Echo(Actor):
    """Answers, waits for others, or never answers."""

    def init(self) -> None:
        self.seen: list[object] = []

    def receive(self, message: object) -> object:
        self.seen.append(message)
        if isinstance(message, ActorRef):
            return message.ask("from an actor")
        return self.defer() if message == "never" else message


class World:
    """A system on a serial backend, and what came of what was done in it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.system = System(self._made, self.clock, blocked_after=None)
        self.results: list[object] = []

    def _made(self, work: object, name: str) -> SerialBackend:
        self.backend = SerialBackend(work, self.clock)
        return self.backend

    def do(self, fn) -> None:
        def called() -> None:
            try:
                self.results.append(fn())
            except Exception as error:
                self.results.append(error)

        self.backend.spawn(called)

    def run(self, pick=lambda ready: 0) -> None:
        while self.backend.ready:
            self.backend.run(pick(self.backend.ready))


@pytest.fixture
def world():
    made = World()
    yield made
    made.backend.die()


def started(world: World, count: int = 1) -> list[ActorRef]:
    for _ in range(count):
        world.do(lambda: world.system.start(Echo))
    world.run()
    refs, world.results = world.results, []
    return refs


def test_nothing_happens_until_the_owner_lets_it(world: World) -> None:
    (echo,) = started(world)
    world.do(lambda: echo.ask("hello"))
    assert world.results == []
    world.run()
    assert world.results == ["hello"]


def test_the_owner_draws_whose_turn_it_is(world: World) -> None:
    refs = started(world, 3)
    for number, ref in enumerate(refs):
        world.do(lambda ref=ref, number=number: ref.ask(number))
    world.run(pick=lambda ready: len(ready) - 1)
    assert world.results == [2, 1, 0]


def test_a_turn_is_one_message(world: World) -> None:
    (echo,) = started(world)
    echo.tell(1)
    echo.tell(2)
    world.backend.run(0)
    assert len(world.backend.ready) == 1
    assert [envelope[0] for envelope in echo.cell.mailbox] == [2]


def test_actors_wait_for_each_other(world: World) -> None:
    one, other = started(world, 2)
    world.do(lambda: one.ask(other))
    world.run()
    assert world.results == ["from an actor"]


def test_all_patience_counts_by_the_clock(world: World) -> None:
    (echo,) = started(world)
    world.do(lambda: echo.ask("never", timeout=5.0))
    world.run()
    assert world.results == []
    world.clock._timers.pop_due(6_000_000).fire()
    world.run()
    assert isinstance(world.results[0], AskTimeout)


def test_stopping_is_as_orderly_as_elsewhere(world: World) -> None:
    (echo,) = started(world)
    world.do(lambda: echo.stop())
    world.run()
    assert world.results == [True]
    assert not echo.is_alive()


def test_another_thread_is_refused(world: World) -> None:
    (echo,) = started(world)
    raised: list[BaseException] = []

    def send() -> None:
        try:
            echo.tell("from elsewhere")
        except WouldBlock as error:
            raised.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_the_owner_itself_can_not_wait(world: World) -> None:
    (echo,) = started(world)
    with pytest.raises(WouldBlock):
        echo.ask("hello")


def test_death_ends_everything_at_once(world: World) -> None:
    (echo,) = started(world)
    world.do(lambda: echo.ask("never"))
    world.run()
    world.backend.die()
    world.backend.die()
    assert world.backend.ready == []
    assert not world.backend.alive
    with pytest.raises(ForkedSystem):
        world.system.start(Echo)


def test_a_kill_breaks_off_an_actor_that_waits(world: World) -> None:
    one, other = started(world, 2)
    other.cell.actor.receive = lambda message: other.cell.actor.defer()
    world.do(lambda: one.ask(other))
    world.run()
    one.cell.kill()
    world.run()
    assert not one.is_alive()
    assert isinstance(TimerHeap().first_due(), type(None))
