"""Assets over a real PostgreSQL: runs, history and lineage in its tables, values in files that all nodes see.

Run it: python examples/assets_on_postgresql.py postgresql://user:password@host/database
"""

import sys

import flowstone as fs
from flowstone.io import FilesIO

shop = fs.Pipeline("shop")


@shop.asset(partitions=fs.Static(["eu", "us"]))
def customers(context):
    """The customers of a region."""
    return [f"{context.partition}-{number}" for number in range(3)]


@shop.asset(partitions=fs.Static(["eu", "us"]))
def mailing(context, customers):
    """A letter to each."""
    return {name: f"Dear {name}" for name in customers}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # Several nodes share the store: files would be in a place that all of them see.
    files = FilesIO("values", format="json")
    with fs.Runtime(shop, store=sys.argv[1], io_managers={"files": files}, io_manager="files") as runtime:
        print(runtime.backfill("+mailing", partitions=["eu", "us"]))
        print(runtime.get("mailing", partition="us")["us-1"])
        print([(node.asset, node.partition) for node in runtime.lineage.upstream("mailing", partition="eu")])
        print(runtime.why("mailing", partition="eu"))
