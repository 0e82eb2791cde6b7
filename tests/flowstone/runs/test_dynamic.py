"""Keys of dynamic partition sets: durable, audited, known to every process on the store (semantics 2)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flowstone as fs
from flowstone.core.dynamic_sets import DynamicKeys
from flowstone.io import MemoryIO
from flowstone.runs import dynamic

VALUES = {"values": MemoryIO()}


def shop() -> fs.Pipeline:
    pipeline = fs.Pipeline("shop")

    @pipeline.asset(partitions=fs.Dynamic("customers"))
    def orders(context: fs.Context) -> str:
        return f"orders of {context.partition}"

    @pipeline.asset(mapping={"orders": fs.All()})
    def total(context: fs.Context, orders: dict[str, str]) -> list[str]:
        return list(orders.values())

    @pipeline.asset(partitions=fs.Multi(day=fs.Daily("2025-01-01"), customer=fs.Dynamic("customers")))
    def bills(context: fs.Context) -> Any:
        return context.partition

    return pipeline


@pytest.fixture
def make(store_url: str) -> Callable[[], fs.Runtime]:
    return lambda: fs.Runtime(shop(), store=store_url, io_managers=VALUES, io_manager="values")


@pytest.fixture
def runtime(make: Callable[[], fs.Runtime]) -> Iterator[fs.Runtime]:
    with make() as running:
        yield running


def test_keys_are_partitions_from_the_moment_they_are_added(runtime: fs.Runtime) -> None:
    with pytest.raises(fs.PartitionError, match="runtime.partitions.add"):
        runtime.materialize("orders", "acme")
    assert runtime.partitions.add("customers", "acme", "globex", by="ada") == 2
    assert runtime.partitions.add(fs.Dynamic("customers"), "acme") == 0
    assert runtime.partitions.list("customers") == ["acme", "globex"]
    assert runtime.materialize("orders", "globex").value == "orders of globex"
    assert runtime.materialize("bills", "2025-01-02|acme").value[1] == "acme"
    runtime.materialize("orders", "acme")
    assert runtime.materialize("total").value == ["orders of acme", "orders of globex"]
    assert [(row.event_type, row.actor, row.resource) for row in runtime.audit.list(actor="ada")] == [
        ("partition.added", "ada", "partitions:customers")
    ]


def test_a_removed_key_is_no_partition_and_may_come_back_at_the_end(runtime: fs.Runtime) -> None:
    runtime.partitions.add("customers", "acme", "globex")
    runtime.materialize("orders", "acme")
    assert runtime.partitions.remove("customers", "acme", "nobody") == 1
    with pytest.raises(fs.PartitionError, match="does not hold 'acme'"):
        runtime.get("orders", "acme")
    runtime.partitions.add("customers", "acme")
    assert runtime.partitions.list("customers") == ["globex", "acme"]
    assert runtime.get("orders", "acme") == "orders of acme"


def test_only_keys_of_sets_that_assets_have_are_taken(runtime: fs.Runtime) -> None:
    with pytest.raises(fs.ValidationError, match="did you mean 'customers'"):
        runtime.partitions.add("customer", "acme")
    for key in ("", 5, None):
        with pytest.raises(fs.ValidationError, match="expected a key"):
            runtime.partitions.add("customers", key)  # type: ignore[arg-type]  # that is the fault
    assert runtime.partitions.list("customers") == []


def test_keys_survive_a_restart_and_clients_know_them(
    make_store_url: Callable[[str], str]
) -> None:
    url = make_store_url("sqlite")
    with fs.Runtime(shop(), store=url) as first:
        first.partitions.add("customers", "acme")
    with fs.Client(shop(), store=url) as client:
        assert client.partitions.list("customers") == ["acme"]
        client.materialize_async("orders", "acme")
        client.partitions.add("customers", "globex")
        client.materialize_async("orders", "globex")
    with fs.Client(store=url) as stranger:
        assert stranger.partitions.add("customers", "initech") == 1
    with fs.Runtime(shop(), store=url) as again:
        assert again.materialize("orders", "initech").value == "orders of initech"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_another_process_adds_is_known_within_a_second(make_store_url: Callable[[str], str], kind: str) -> None:
    url = make_store_url(kind)
    serving = fs.Runtime(shop(), store=url, io_managers=VALUES, io_manager="values")
    with serving as runtime, fs.Client(shop(), store=url) as client:
        known = runtime._services.catalog.dynamic
        seen = runtime._services.future()
        fill = known.fill

        def told(keys: Any, *, steps: int = 0) -> None:
            fill(keys, steps=steps)
            seen.set(keys)

        known.fill = told  # type: ignore[method-assign]  # the moment at which it is known
        client.partitions.add("customers", "acme")
        assert seen.get(timeout=10) == {"customers": ["acme"]}
        assert runtime.materialize("orders", "acme").value == "orders of acme"


def test_what_was_read_earlier_never_covers_what_was_read_later() -> None:
    known = DynamicKeys()
    dynamic._take(known, 2, {"customers": ["acme", "globex"]})
    dynamic._take(known, 1, {"customers": ["acme"]})
    assert known.of("customers") == ("acme", "globex")


def test_a_value_exists_while_its_manager_has_it_and_is_not_loaded(make_store_url: Callable[[str], str]) -> None:
    class Unreadable(MemoryIO):
        def load(self, context: Any, stored: Any) -> Any:
            raise AssertionError("loaded")

    manager = Unreadable()
    runtime = fs.Runtime(shop(), store=make_store_url("memory"), io_managers={"own": manager}, io_manager="own")
    with runtime:
        runtime.partitions.add("customers", "acme")
        assert not runtime.exists("orders", "acme")
        runtime.materialize("orders", "acme")
        assert runtime.exists("orders", "acme")
        manager._kept.clear()
        assert not runtime.exists("orders", "acme")
        with pytest.raises(fs.AssetNotFound):
            runtime.exists("order", "acme")
