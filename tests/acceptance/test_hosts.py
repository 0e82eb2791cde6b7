"""FlowStone within somebody else's system: on it, or as one child of a supervisor there."""

from __future__ import annotations

from pathlib import Path

import flowstone as fs
import pytest
from actors import ChildSpec, ChildStartError, Supervisor, System
from actors.testing import crash


@pytest.fixture(params=["greenlets", "threads"])
def system(request: pytest.FixtureRequest) -> System:
    made = System(backend=request.param)
    request.addfinalizer(made.stop)
    return made


def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: context.partition, name="raw")
    return made


def test_a_runtime_lives_in_a_hosts_system_and_leaves_it_running(system: System) -> None:
    with fs.Runtime(shop(), store="memory://", system=system) as runtime:
        assert runtime.materialize("raw", partition=1).value == 1
        assert runtime.tree().path == "/root"
    assert not system.stopped
    assert system.tree() == ()


def test_a_whole_runtime_is_a_child_of_a_hosts_supervisor(system: System, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    host = system.start(Supervisor, children=[fs.Runtime.child_spec(shop(), store=url)])
    runtime = host.child("flowstone").runtime
    assert runtime.materialize("raw", partition=1).value == 1
    assert [row.id for row in host.which_children()] == ["flowstone"]
    assert [row.name for row in runtime.tree().children] == ["store", "services"]
    with pytest.raises(fs.StoreLocked):
        fs.Runtime(shop(), store=url).start()
    host.stop()
    with pytest.raises(fs.RuntimeStopped):
        runtime.runs.list()
    with fs.Runtime(shop(), store=url) as after:
        assert after.get("raw", partition=1) == 1


def test_a_hosts_supervisor_starts_a_crashed_runtime_again(system: System, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    host = system.start(Supervisor, children=[fs.Runtime.child_spec(shop(), store=url)])
    ref = host.child("flowstone")
    ref.runtime.materialize("raw", partition=1)
    crash(ref)
    assert ref.runtime.get("raw", partition=1) == 1
    assert ref.runtime.materialize("raw", partition=2).value == 2
    assert host.which_children()[0].restarts == 1


def test_a_runtime_that_can_not_start_fails_the_host_and_leaves_the_store_free(system: System, tmp_path: Path) -> None:
    broken, url = shop(), f"sqlite:///{tmp_path}/shop.db"
    broken.asset(lambda context, missing: 1, name="report")
    with pytest.raises(ChildStartError, match="missing"):
        system.start(Supervisor, children=[fs.Runtime.child_spec(broken, store=url)])
    with fs.Runtime(shop(), store=url) as runtime:
        assert runtime.health().status == "ok"


def test_the_spec_is_checked_where_it_is_made() -> None:
    assert isinstance(fs.Runtime.child_spec(shop()), ChildSpec)
    with pytest.raises(fs.ValidationError, match="max_queue"):
        fs.Runtime.child_spec(shop(), max_queue=0)
