"""Hosts: real processes of each kind that actors live in."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRELUDE = """
from actors import *
class Adder(Actor):
    def init(self):
        self.total = 0
    def receive(self, number):
        self.total += number
        return self.total
"""


@pytest.fixture
def run():
    """Runs a program in a fresh interpreter; returns what it printed, and fails on noise, a bad exit code or a hang."""

    def start(program, *, first="", arguments=()):
        source = textwrap.dedent(first) + PRELUDE + textwrap.dedent(program)
        command = [sys.executable, "-W", "error", "-c", source, *arguments]
        # Whoever runs the tests in the background may have had Ctrl-C ignored, which children inherit.
        heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        done = subprocess.run(command, capture_output=True, text=True, timeout=40, cwd=ROOT, preexec_fn=heeded)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.split()

    return start


def test_importing_loads_no_gevent_and_starts_no_thread(run):
    program = """
        import sys, threading
        print("gevent" in sys.modules, "asyncio" in sys.modules, threading.active_count())
        import actors.testing
        print("gevent" in sys.modules, threading.active_count())
    """
    assert run(program) == ["False", "False", "1", "False", "1"]


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_a_plain_script_leaves_no_thread_behind(run, backend):
    program = f"""
        import threading
        with System("{backend}") as system:
            ref = system.start(Adder)
            print(ref.ask(1), ref.ask(2))
        print([t.name for t in threading.enumerate() if t.name != "actors-watchdog"])
    """
    assert run(program) == ["1", "3", "['MainThread']"]


def test_a_hub_ends_on_its_own_thread_and_leaves_nothing_to_the_main_one(run):
    program = """
        with System("greenlets") as system:
            system.start(Adder).ask(1)
            hub = system.backend.hub
            print(hub.dead)
        print(hub.dead, hub.loop)
    """
    assert run(program) == ["False", "True", "None"]


def test_each_actor_on_threads_has_a_thread_of_its_own_named_after_it(run):
    program = """
        import threading
        class Where(Actor):
            def receive(self, message):
                return threading.current_thread().name, threading.get_ident()
        with System("threads") as system:
            sup = system.start(Supervisor, children=[ChildSpec(Where, id=n) for n in "abc"])
            answers = [sup.child(n).ask(0) for n in "abc"]
            print(len({ident for _, ident in answers}), *[name for name, _ in answers])
    """
    assert run(program) == ["3", "/Supervisor-1/a", "/Supervisor-1/b", "/Supervisor-1/c"]


def test_greenlets_are_named_after_their_actor(run):
    program = """
        import gevent
        class Where(Actor):
            def receive(self, message):
                gevent.sleep(0.01)
                return gevent.getcurrent().name
        with System("greenlets") as system:
            print(system.spawn(ChildSpec(Where, id="here")).ask(0))
    """
    assert run(program) == ["/here"]


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_foreign_threads_ask_at_the_same_time(run, backend):
    program = f"""
        import threading
        with System("{backend}") as system:
            ref = system.start(Adder)
            threads = [threading.Thread(target=lambda: [ref.ask(1, timeout=20) for _ in range(200)]) for _ in range(8)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            print(ref.ask(0))
    """
    assert run(program) == ["1600"]


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_asyncio_awaits_answers_while_its_loop_goes_on(run, backend):
    program = f"""
        import asyncio
        class Slow(Actor):
            def receive(self, message):
                return self.defer() and None
        async def main():
            with System("{backend}") as system:
                ref, slow = system.start(Adder), system.start(Slow)
                answers = await asyncio.gather(*[ref.aio.ask(1, timeout=20) for _ in range(100)])
                print(sorted(answers) == list(range(1, 101)))
                try:
                    await slow.aio.ask(1, timeout=0.01)
                except AskTimeout:
                    print("timeout")
                ref.aio.tell(5)
                print(await ref.aio.stop(), await ref.aio.stop())
                try:
                    await ref.aio.ask(1)
                except ActorDeadError:
                    print("dead")
        asyncio.run(main())
    """
    assert run(program) == ["True", "timeout", "True", "False", "dead"]


PATCH = "import gevent.monkey; gevent.monkey.patch_all()"


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_patched_process_keeps_its_greenlets_going(run, backend, order):
    program = f"""
        {PATCH if order == "after" else ""}
        import gevent, time
        from actors.testing import ManualClock
        ticks = []
        def tick():
            while len(ticks) < 5:
                ticks.append(1)
                time.sleep(0.001)
        class Sleepy(Actor):
            def receive(self, message):
                time.sleep(0.02)
                return threading.get_ident
        import threading
        other = gevent.spawn(tick)
        with System("{backend}") as system:
            system.start(Sleepy).ask(1, timeout=20)
            other.join()
            print(len(ticks))
            ref = system.start(Adder)
            workers = [gevent.spawn(ref.ask, 1) for _ in range(50)]
            gevent.joinall(workers)
            print(ref.ask(0))
            sup = system.start(Supervisor, children=[ChildSpec(Adder, id="a")])
            sup.child("a").tell("no number")
            print(sup.child("a").is_alive() or "restarting")
        clock = ManualClock()
        class Ticking(Actor):
            def init(self):
                self.count = 0
                self.send_every(60, "x")
            def receive(self, message):
                self.count += message == "x"
                return self.count
        with System("{backend}", clock=clock) as system, System("{backend}") as second:
            ref = system.start(Ticking)
            print(second.start(Adder).ask(7))
            clock.advance(3600)
            print(ref.ask("count"))
    """
    silent = "import logging; logging.disable(logging.CRITICAL)\n"
    out = run(program, first=silent + (PATCH if order == "before" else ""))
    assert out[:2] == ["5", "50"] and out[-2:] == ["7", "60"]


def test_a_patched_host_shares_its_hub_with_foreign_threads(run):
    program = """
        import gevent
        from actors.raw import start_thread
        with System() as system:
            ref = system.start(Adder)
            done = [system.future() for _ in range(4)]
            def send(future):
                for _ in range(500):
                    ref.tell(1)
                future.set(ref.ask(0, timeout=20))
            for future in done:
                start_thread("sender", lambda future=future: send(future))
            [future.get(timeout=20) for future in done]
            print(ref.ask(0))
    """
    assert run(program, first=PATCH) == ["2000"]


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_a_fork_gets_one_clear_error_and_may_start_its_own(run, backend):
    program = f"""
        import os
        system = System("{backend}", name="mine")
        ref = system.start(Adder)
        ref.ask(1)
        child = os.fork()
        if child == 0:
            for call in (lambda: ref.ask(1), lambda: ref.tell(1), lambda: system.start(Adder), lambda: ref.stop()):
                try:
                    call()
                    print("no error", flush=True)
                except ForkedSystem as error:
                    assert "'mine'" in str(error) and "fork" in str(error)
            system.stop()
            with System("{backend}") as own:
                print("own", own.start(Adder).ask(5), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent", ref.ask(1))
        system.stop()
    """
    assert run(program, first="import warnings; warnings.simplefilter('ignore', DeprecationWarning)") == [
        "own",
        "5",
        "parent",
        "2",
    ]


def test_a_ctrl_c_in_an_actor_of_a_patched_host_reaches_the_host_once(run):
    program = """
        import os, signal
        class Busy(Actor):
            def receive(self, message):
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(10 ** 6):
                    pass
        with System("greenlets") as system:
            sup = system.start(Supervisor, children=[ChildSpec(Busy, id="a"), ChildSpec(Adder, id="b")])
            for send in (sup.child("a").ask, lambda message: (sup.child("a").tell(message), system.work.wait_idle(20))):
                try:
                    send("work")
                except KeyboardInterrupt:
                    print("interrupted")
                print(sup.child("b").ask(1), system.work.wait_idle(20), sup.which_children()[0].restarts)
    """
    silent = "import logging; logging.disable(logging.CRITICAL)\n"
    out = run(program, first=silent + PATCH)
    assert out == ["interrupted", "1", "True", "1", "interrupted", "2", "True", "2"]


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
@pytest.mark.parametrize("patched", [False, True])
def test_the_interpreter_ends_with_actors_still_running(run, backend, patched):
    program = f"""
        class Busy(Actor):
            def init(self):
                self.send_every(0.001, "x")
                self.ref.tell("x")
            def receive(self, message):
                pass
            def terminate(self, reason):
                print("terminate", reason)
        system = System("{backend}")
        for _ in range(3):
            system.start(Busy)
        system.start(Supervisor, children=[ChildSpec(Adder)])
        print("end")
    """
    assert run(program, first=PATCH if patched else "") == ["end"] + ["terminate", "shutdown"] * 3


@pytest.mark.parametrize("backend", ["greenlets", "threads"])
def test_signal_handlers_may_tell_and_stop(run, backend):
    program = f"""
        import os, signal, threading
        system = System("{backend}")
        ref = system.start(Adder)
        done = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: ref.tell(1))
        signal.signal(signal.SIGTERM, lambda *_: done.set())
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGUSR1)
            ref.tell(1)
        os.kill(os.getpid(), signal.SIGTERM)
        done.wait()
        print(ref.ask(0))
        system.stop()
    """
    assert run(program) == ["200"]


def test_a_keyboard_interrupt_ends_a_waiting_script(run):
    program = """
        import os, signal
        from actors.raw import start_thread
        with System() as system:
            ref = system.start(Adder)
            never = system.future()
            system.backend.real.call_after(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
            try:
                never.get(timeout=20)
            except KeyboardInterrupt:
                print("interrupted", ref.ask(1))
    """
    assert run(program) == ["interrupted", "1"]


def test_xdist_workers_run_systems_side_by_side(tmp_path):
    (tmp_path / "test_it.py").write_text(PRELUDE + textwrap.dedent("""
            import pytest
            @pytest.mark.parametrize("n", range(10))
            @pytest.mark.parametrize("backend", ["greenlets", "threads"])
            def test_adds(backend, n):
                with System(backend) as system:
                    assert system.start(Adder).ask(n) == n
            """))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        str(tmp_path),
    ]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
    assert "20 passed" in done.stdout, done.stdout + done.stderr
