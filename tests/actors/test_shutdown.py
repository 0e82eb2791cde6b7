"""Ends: of children by patience, `brutal_kill` and `infinity`; of supervisors by significant children."""

from __future__ import annotations

import pytest

from actors import ActorDeadError, ChildSpec, Supervisor
from actors.testing import Probe


@pytest.mark.parametrize(
    ("mode", "endings", "ends"),
    [
        ("never", "", False),
        ("any_significant", "a", True),
        ("all_significant", "a", False),
        ("all_significant", "ab", True),
        ("any_significant", "c", False),
    ],
)
def test_auto_shutdown_follows_significant_children(system, recorder, mode, endings, ends):
    _, make = recorder
    specs = [ChildSpec(make(n), id=n, restart="transient", significant=mode != "never" and n != "c") for n in "abc"]
    sup = system.start(Supervisor, children=specs, auto_shutdown=mode)
    probe = Probe(system)
    probe.monitor(sup)
    for name in endings:
        sup.child(name).ask("stop")
    if ends:
        assert probe.expect().reason == "shutdown"
    else:
        assert sup.is_alive() and sup.count_children().active == 3 - len(endings)


def test_a_significant_child_stopped_on_purpose_ends_nothing(system, recorder):
    _, make = recorder
    spec = ChildSpec(make("a"), id="a", restart="transient", significant=True)
    sup = system.start(Supervisor, children=[spec], auto_shutdown="any_significant")
    sup.terminate_child("a")
    assert sup.count_children().specs == 1


def test_brutal_kill_skips_terminate(system, recorder):
    log, make = recorder
    spec = ChildSpec(make("a"), id="a", shutdown="brutal_kill")
    sup = system.start(Supervisor, children=[spec])
    probe = Probe(system)
    probe.monitor(sup.child("a"))
    sup.terminate_child("a")
    assert probe.expect().reason == "killed"
    assert ("terminate", "a") not in log


def test_a_child_that_does_not_stop_in_time_is_killed_or_abandoned(backend, real, counter):
    gate, entered = real.future(), real.future()
    sup = real.start(Supervisor, children=[ChildSpec(counter, id="a", shutdown=0.05)])
    ref = sup.child("a")
    held = ref.ask(lambda actor: (entered.set(), gate.get(timeout=20)), block=False)
    entered.get(timeout=5)
    sup.terminate_child("a")
    with pytest.raises(ActorDeadError, match="killed"):
        held.get(timeout=5)
    assert len(real.abandoned) == (1 if backend == "threads" else 0)
    gate.set()


def test_infinity_waits(real, counter):
    sup = real.start(Supervisor, children=[ChildSpec(counter, id="a", shutdown="infinity")])
    gate, entered = real.future(), real.future()
    sup.child("a").tell(lambda actor: (entered.set(), gate.get(timeout=20)))
    entered.get(timeout=5)
    real.backend.real.call_after(0.05, gate.set)
    sup.terminate_child("a")
    assert gate.done and real.abandoned == []


def test_nested_supervisors_have_all_the_time_they_need_by_default(counter):
    assert ChildSpec(Supervisor).shutdown == "infinity"
    assert ChildSpec(counter).shutdown == 5.0


def test_killing_a_supervisor_kills_its_children(system, recorder):
    log, make = recorder
    inner = {"children": [ChildSpec(make("a"), id="a")]}
    outer = system.start(Supervisor, children=[ChildSpec(Supervisor, id="s", kwargs=inner, shutdown="brutal_kill")])
    child = outer.child("s").child("a").cell
    outer.terminate_child("s")
    assert child.dead and child.reason == "killed"
