"""An IO manager of one's own, which somebody else wrote in a file of thirty lines: gzip_values.py beside this one.

Whatever has `store load exists delete` is one. Run it: python examples/own_io_manager.py
"""

import tempfile
from pathlib import Path

from gzip_values import GzipIO

import flowstone as fs

shop = fs.Pipeline("shop")


@shop.asset
def orders(context):
    """Ten orders."""
    return [{"order": n, "price": n * 2} for n in range(10)]


@shop.asset
def revenue(context, orders):
    """What they bring in."""
    return sum(order["price"] for order in orders)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        managers = {"gzip": GzipIO(folder)}
        with fs.Runtime(shop, store="memory://", io_managers=managers, io_manager="gzip") as runtime:
            runtime.materialize_all("revenue")
            print("revenue:", runtime.get("revenue"), "in", len(list(Path(folder).iterdir())), "files")
