"""Every IO manager, in each of its forms; S3 is a server that speaks its API over HTTP, PostgreSQL is a real one."""

import logging
import os
import runpy
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowstone.io import DatabaseIO, FilesIO, IOManager, MemoryIO, ParquetIO, S3IO

BUCKET = "values"
EXAMPLE = Path(__file__).parents[3] / "examples" / "gzip_values.py"
MAKERS: dict[str, Callable[[Path], IOManager]] = {
    "memory": lambda root: MemoryIO(),
    "files": FilesIO,
    "json-files": lambda root: FilesIO(root, format="json"),
    "stable-files": lambda root: FilesIO(root, placement="stable"),
    "database": lambda root: DatabaseIO(f"sqlite:///{root}.db"),
    "json-database": lambda root: DatabaseIO(f"sqlite:///{root}.db", format="json"),
    "stable-database": lambda root: DatabaseIO(f"sqlite:///{root}.db", placement="stable"),
    "parquet": ParquetIO,
    "example": lambda root: example_in(root),
    "stable-parquet": lambda root: ParquetIO(root, placement="stable"),
}


def example_in(root: Path) -> IOManager:
    """The IO manager that an example shows, with a folder of its own."""
    root.mkdir()
    made: IOManager = runpy.run_path(str(EXAMPLE))["GzipIO"](root)
    return made


SERVED = ("postgresql", "json-postgresql", "s3", "pickle-s3", "stable-s3")
EVERY = sorted({*MAKERS, *SERVED})


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a server that speaks the API of S3, of this process's own."""
    given = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Any:
    """A client of that server, on which there is a bucket."""
    import boto3

    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def make_s3(s3_client: Any) -> Callable[..., S3IO]:
    """Makes managers with a prefix of this test's own."""
    prefix = uuid.uuid4().hex
    return lambda **options: S3IO(BUCKET, **{"prefix": prefix, "client": s3_client, **options})


@pytest.fixture
def make_manager(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], IOManager]:
    """Makes a manager by its name, with nothing stored."""

    def make(name: str) -> IOManager:
        if name.endswith("postgresql"):
            form: Any = "json" if name.startswith("json") else "pickle"
            return DatabaseIO(request.getfixturevalue("postgres_url"), format=form)
        if name.endswith("s3"):
            options = {"s3": {}, "pickle-s3": {"format": "pickle"}, "stable-s3": {"placement": "stable"}}[name]
            made: IOManager = request.getfixturevalue("make_s3")(**options)
            return made
        return MAKERS[name](tmp_path / "values")

    return make


@pytest.fixture(params=EVERY)
def manager(request: pytest.FixtureRequest, make_manager: Callable[[str], IOManager]) -> IOManager:
    """One of the managers, with nothing stored."""
    return make_manager(request.param)


@pytest.fixture(params=[name for name in EVERY if "parquet" not in name])
def manager_of_anything(request: pytest.FixtureRequest, make_manager: Callable[[str], IOManager]) -> IOManager:
    """One of the managers whose values need not be tables."""
    return make_manager(request.param)


@pytest.fixture(params=[name for name in EVERY if "stable" not in name])
def manager_by_attempt(request: pytest.FixtureRequest, make_manager: Callable[[str], IOManager]) -> IOManager:
    """One of the managers that keep a place for each attempt."""
    return make_manager(request.param)


@pytest.fixture(params=[name for name in EVERY if "stable" in name])
def stable_manager(request: pytest.FixtureRequest, make_manager: Callable[[str], IOManager]) -> IOManager:
    """One of the managers that keep one place for each partition."""
    return make_manager(request.param)
