"""An IO manager of one's own, whole: values as compressed JSON files in one folder, which exists."""
import gzip
import json
from hashlib import sha256
from pathlib import Path
from flowstone import ValueNotFound, io


class GzipIO:
    def __init__(self, root):
        self.root = Path(root)

    def store(self, context, value):
        attempt = repr((context, context.encoded_partition))  # which refuses what is no partition
        name = sha256(attempt.encode()).hexdigest()  # no name can leave the folder
        content = json.dumps(value).encode()
        (self.root / f"{name}.part").write_bytes(gzip.compress(content))
        (self.root / f"{name}.part").rename(self.root / name)  # there whole, or not at all
        return io.StoredValue("gzip", name, sha256(content).hexdigest(), len(content))

    def load(self, context, stored):
        if not self.exists(context, stored):
            raise ValueNotFound(f"no value of {context.asset} in {stored.location}")
        return json.loads(gzip.decompress((self.root / stored.location).read_bytes()))

    def exists(self, context, stored):
        return (self.root / stored.location).is_file()

    def delete(self, stored):
        (self.root / stored.location).unlink(missing_ok=True)
