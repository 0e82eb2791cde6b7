"""The contract of backends, as tests: who writes a backend subclasses `BackendContract` and runs it with pytest.

It asks only what everything else stands on: turns one at a time, order, endings, waiting without stopping others, the
count of work, and threads that end. What supervisors make of that has tests of its own.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from actors.actor import Actor
from actors.backends.base import Backend
from actors.backends.work import WorkCount
from actors.errors import ActorDeadError, AskTimeout
from actors.messages import Down
from actors.spec import ChildSpec
from actors.supervisor import Supervisor
from actors.system import System
from actors.testing.faults import crash
from actors.testing.manual_clock import ManualClock
from actors.testing.probe import Probe

__all__ = ["BackendContract"]

PATIENCE = 20.0


class _Worker(Actor):
    """Runs what it is told, and notes when two of its turns overlap."""

    def init(self) -> None:
        self.inside = 0
        self.overlaps = 0

    def receive(self, message: Any) -> Any:
        self.inside += 1
        self.overlaps += self.inside > 1
        try:
            return message(self) if callable(message) else message
        finally:
            self.inside -= 1


E = TypeVar("E", bound=BaseException)


def expect(kind: type[E], call: Callable[[], Any]) -> E:
    """Return the error of that kind that `call` raises. Raises AssertionError when it raises none."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}")


def _note(seen: list[Any], what: Any, actor: Actor) -> None:
    seen.append(what)


class BackendContract:
    """Tests that each backend passes; `make_backend` returns a new one."""

    def make_backend(self, work: WorkCount, name: str) -> Backend:
        """Return the backend under test, counting its work in `work`."""
        raise TypeError(f"{type(self).__name__} has to say which backend it tests: override make_backend")

    def system(self, clock: ManualClock | None = None) -> System:
        """Return a new system on the backend under test."""
        return System(self.make_backend, clock)

    def test_turns_of_one_actor_never_overlap_and_keep_each_senders_order(self) -> None:
        """Messages from many threads are handled one at a time, each sender's in order."""
        with self.system() as system:
            ref = system.start(_Worker)
            seen: list[Any] = []

            def send(sender: int) -> None:
                for number in range(500):
                    ref.tell(partial(_note, seen, (sender, number)))

            senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
            for thread in senders:
                thread.start()
            for thread in senders:
                thread.join(PATIENCE)
            assert ref.ask(lambda actor: actor.overlaps, timeout=PATIENCE) == 0
            for sender in range(4):
                assert [number for who, number in seen if who == sender] == list(range(500))

    def test_an_actor_that_waits_stops_nobody_else(self) -> None:
        """Others go on while one waits for a future."""
        with self.system() as system:
            gate, waiting, other = system.future(), system.start(_Worker), system.start(_Worker)
            answer = waiting.ask(lambda actor: gate.get(timeout=PATIENCE), block=False)
            assert other.ask("on", timeout=PATIENCE) == "on"
            gate.set("done")
            assert answer.get(timeout=PATIENCE) == "done"

    def test_actors_ask_each_other(self) -> None:
        """An ask in an actor is answered by another."""
        with self.system() as system:
            first, second = system.start(_Worker), system.start(_Worker)
            assert first.ask(lambda actor: second.ask("deep", timeout=PATIENCE), timeout=PATIENCE) == "deep"

    def test_a_timeout_ends_a_wait(self) -> None:
        """An ask that is not answered in time raises, in and outside of actors."""
        with self.system() as system:
            gate, stuck, other = system.future(), system.start(_Worker), system.start(_Worker)
            stuck.tell(lambda actor: gate.get(timeout=PATIENCE))
            expect(AskTimeout, lambda: stuck.ask("never", timeout=0.01))
            expect(AskTimeout, lambda: other.ask(lambda actor: stuck.ask("never", timeout=0.01)))
            gate.set()

    def test_the_end_refuses_what_comes_after_and_answers_what_waits(self) -> None:
        """Nothing is handled after the end; asks still in the mailbox fail with the reason."""
        with self.system() as system:
            ref, gate = system.start(_Worker), system.future()
            ref.tell(lambda actor: gate.get(timeout=PATIENCE))
            ref.tell(lambda actor: actor.stop())
            late = ref.ask("late", block=False)
            gate.set()
            assert expect(ActorDeadError, lambda: late.get(timeout=PATIENCE)).reason == "normal"
            assert expect(ActorDeadError, lambda: ref.tell("later")).reason == "normal"

    def test_a_killed_actor_is_ended_while_it_waits(self) -> None:
        """A kill ends an actor in the middle of a message, and its asker hears."""
        with self.system() as system:
            ref, gate, entered, probe = system.start(_Worker), system.future(), system.future(), Probe(system)
            probe.monitor(ref)

            def hold(actor: Actor) -> None:
                entered.set()
                gate.get(timeout=PATIENCE)

            ref.tell(hold)
            entered.get(timeout=PATIENCE)
            ref.cell.kill()
            assert probe.expect(Down).reason == "killed"
            gate.set()

    def test_a_crash_is_restarted_and_nothing_told_is_lost(self) -> None:
        """A supervised actor's successor gets what its name was told."""
        with self.system() as system:
            seen: list[int] = []
            ref = system.start(Supervisor, children=[ChildSpec(_Worker, id="a")]).child("a")
            crash(ref)
            for number in range(100):
                ref.tell(partial(_note, seen, number))
            assert system.work.wait_idle(PATIENCE)
            assert seen == list(range(100))

    def test_the_count_of_work_is_zero_only_when_all_is_done(self) -> None:
        """A manual clock finds every consequence of a timer done before the next one fires."""
        clock = ManualClock()
        with self.system(clock) as system:
            log: list[Any] = []
            relay = [system.start(_Worker) for _ in range(5)]

            def pass_on(at: int, step: int) -> Any:
                def step_on(actor: Actor) -> None:
                    log.append((at, step))
                    if step < 4:
                        relay[step + 1].tell(pass_on(at, step + 1))

                return step_on

            for at in range(1, 50):
                clock.call_after(at, partial(relay[0].tell, pass_on(at, 0)))
            clock.advance(50)
            assert log == [(at, step) for at in range(1, 50) for step in range(5)]

    def test_stopping_leaves_no_thread(self) -> None:
        """A stopped system has ended all its threads."""
        before = threading.active_count()
        with self.system() as system:
            for _ in range(10):
                system.start(_Worker)
        names = [thread.name for thread in threading.enumerate() if thread.name != "actors-watchdog"]
        assert len(names) <= before, names
