"""Tests put a handle of their own in place of a resource, by name."""

from __future__ import annotations

import threading
from typing import Any

import flowstone as fs
import pytest

from flowstone.resources.book import ResourceBook


def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: context.resources.thing, name="uses", requires=["thing"])
    return made


def test_an_override_holds_until_it_is_taken_back(start: Any, thing: Any) -> None:
    runtime = start(shop(), resources={"thing": thing()})
    with runtime.resources.override("thing", "fake") as override:
        assert override.handle == "fake"
        assert runtime.materialize("uses").value == "fake"
        assert runtime.resources.get("thing") == "fake"
        assert [row.reason for row in runtime.resources.health()] == ["overridden"]
        with runtime.resources.override("thing", "other"):
            assert runtime.resources.get("thing") == "other"
        assert runtime.resources.get("thing") == "fake"
    assert runtime.materialize("uses").value == ["thing", None]


def test_one_that_is_overridden_before_the_start_is_set_up_when_it_is_needed(thing: Any) -> None:
    one = thing()
    runtime = fs.Runtime(shop(), store="memory://", resources={"thing": one})
    override = runtime.resources.override("thing", None)
    with runtime:
        assert runtime.materialize("uses").value is None
        assert one.told == []
        override.restore()
        assert runtime.resources.get("thing") == ["thing", None]
    assert one.told == ["setup thing", "teardown thing"]


def test_overrides_are_taken_back_in_any_order_and_once(start: Any, thing: Any) -> None:
    runtime = start(shop(), resources={"thing": thing()})
    first, second = (runtime.resources.override("thing", name) for name in ("first", "second"))
    first.restore()
    first.restore()
    assert runtime.resources.get("thing") == "second"
    second.restore()
    with runtime.resources.override("thing", "third"):
        second.restore()
        assert runtime.resources.get("thing") == "third"
    assert runtime.resources.get("thing") == ["thing", None]


def test_whoever_waits_for_a_first_setup_gets_the_override_at_once(start: Any, thing: Any) -> None:
    one = thing()
    one.gate = threading.Event()
    runtime = start(shop(), resources={"thing": one})
    handle = runtime.materialize_async("uses")
    assert one.reached.wait(20)
    with runtime.resources.override("thing", "fake"):
        assert handle.result(timeout=20).value == "fake"
    one.gate.set()
    assert runtime.materialize("uses").value == ["thing", None]
    assert one.told == ["setup thing"]


def test_an_override_that_is_taken_back_during_a_first_setup_leaves_nobody_waiting(thing: Any) -> None:
    one, got, begun = thing(), [], []
    book = ResourceBook({"thing": one})
    book.open()
    book.on_restore = begun.append
    number = book.begin("thing")
    waiting = threading.Thread(target=lambda: got.append(book.handle("thing", 20)))
    waiting.start()
    for _ in range(3):
        book.restore("thing", book.replace("thing", "fake"))
    assert book.offer("thing", number, one, "real")
    waiting.join(20)
    assert got[0] in ("real", "fake")
    assert book.handle("thing", 0) == "real"
    assert begun == ["thing"] * 3


def test_a_plain_value_can_be_overridden_too(start: Any) -> None:
    runtime = start(shop(), resources={"thing": 5})
    override = runtime.resources.override("thing", 6)
    assert runtime.materialize("uses").value == 6
    override.restore()
    assert runtime.materialize("uses").value == 5


def test_an_unknown_name_is_refused(start: Any) -> None:
    with pytest.raises(fs.ValidationError, match="no resource 'thin'; did you mean 'thing'"):
        start(resources={"thing": 5}).resources.override("thin", 6)
