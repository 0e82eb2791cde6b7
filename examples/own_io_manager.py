"""An IO manager of one's own: values as compressed JSON files, in thirty lines.

Whatever has these four methods is one. Run it: python examples/own_io_manager.py
"""

import gzip
import hashlib
import json
import tempfile
from pathlib import Path

import flowstone as fs
from flowstone.io import StoredValue


class GzipIO:
    """Keeps each attempt's value as a compressed JSON file in one folder."""

    def __init__(self, root):
        self.root = Path(root)

    def store(self, context, value):
        attempt = (context.asset, context.encoded_partition, context.run_id, context.attempt, context.fence)
        name = hashlib.sha256(repr(attempt).encode()).hexdigest()  # no name can leave the folder
        content = json.dumps(value).encode()
        self.root.mkdir(parents=True, exist_ok=True)
        part = self.root / f"{name}.part"
        part.write_bytes(gzip.compress(content))
        part.rename(self.root / name)  # there whole, or not at all
        return StoredValue("gzip", name, hashlib.sha256(content).hexdigest(), len(content))

    def load(self, context, stored):
        if not self.exists(context, stored):
            raise fs.ValueNotFound(f"no value of {context.asset} in {stored.location}")
        return json.loads(gzip.decompress((self.root / stored.location).read_bytes()))

    def exists(self, context, stored):
        return (self.root / stored.location).is_file()

    def delete(self, stored):
        (self.root / stored.location).unlink(missing_ok=True)


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
