"""Rows come to a table of a shop's database; each order is one run, even one that is committed late.

Run it: python examples/rows_of_a_table.py
"""

import sqlite3
import tempfile

import flowstone as fs
from flowstone.sensors import DatabaseChange

scratch = tempfile.TemporaryDirectory(prefix="rows-")
orders = sqlite3.connect(f"{scratch.name}/shop.db", isolation_level=None)
orders.execute("create table orders (id integer primary key, day text, at text)")

shop = fs.Pipeline("shop")


@shop.asset(partitions=fs.Daily(start="2025-01-01"))
def invoice(context):
    """One order's invoice; the row came with what triggered the run."""
    return f"order {context.trigger.payload['row']['id']}"


shop.sensor(
    "new_orders",
    DatabaseChange(
        url=f"sqlite:///{scratch.name}/shop.db",
        table="orders",
        high_water="at",
        lookback="10m",
        partition=lambda row: row["day"],
    ),
    every="30s",
    target="invoice",
)

if __name__ == "__main__":
    with scratch, fs.Runtime(shop, store=f"sqlite:///{scratch.name}/flowstone.db") as runtime:
        orders.execute("insert into orders values (1, '2025-01-15', '2025-01-15 12:00:00')")
        print("first poll:", runtime.sensors.poll("new_orders").request_count)
        # Written before the first one, and committed after it was seen.
        orders.execute("insert into orders values (2, '2025-01-15', '2025-01-15 11:55:00')")
        print("second poll:", runtime.sensors.poll("new_orders").request_count)
        print("third poll:", runtime.sensors.poll("new_orders").request_count)
        runtime.drain()
        print(len(runtime.runs.list(asset="invoice")), "runs")
        orders.close()
