"""A graph with a slow branch: what does not depend on it is made at once; only what depends on a failure is skipped.

    orders ── clean ──┐
    rates (slow) ─────┴── report        stock (fails) ── forecast

Run it: python examples/slow_branch.py
"""

import threading

import flowstone as fs

shop = fs.Pipeline("shop")
cleaned = threading.Event()


@shop.asset
def orders(context):
    """Quick."""
    return [1, 2, 3]


@shop.asset
def rates(context):
    """Slow: it ends only after the other branch has."""
    assert cleaned.wait(10)
    return 2


@shop.asset
def clean(context, orders):
    """Made while `rates` is still on its way."""
    cleaned.set()
    return orders


@shop.asset
def report(context, clean, rates):
    """Needs both branches."""
    return sum(clean) * rates


@shop.asset
def stock(context):
    """Fails."""
    raise RuntimeError("the warehouse does not answer")


@shop.asset
def forecast(context, stock):
    """Skipped, since there is no stock."""


if __name__ == "__main__":
    with fs.Runtime(shop, store="memory://") as runtime:
        run = runtime.materialize_async("*")
        runtime.drain(timeout=20)
        for made in runtime.runs.get(run.run_id).materializations:
            print(f"{made.asset:9} {made.status:8} {made.error or made.reason or ''}")
        print("report:", runtime.get("report"))
