"""Values in S3, beyond the contract: keys, what is not trusted, and errors that say what to do."""

import json
import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from flowstone.errors import IOManagerError, ValidationError
from flowstone.io import S3IO, IOContext, StoredValue

CONTEXT = IOContext(asset="raw", partition=date(2025, 1, 15), run_id="run_a", attempt=2, fence=7)


def test_a_value_is_an_object_below_the_prefix(make_s3: Callable[..., S3IO], s3_client: Any) -> None:
    manager = make_s3()
    stored = manager.store(CONTEXT, {"rows": 3})
    assert stored.location == "raw/2025-01-15/run_a.2.7.json"
    found = s3_client.get_object(Bucket=manager.bucket, Key=f"{manager.prefix}{stored.location}")
    assert json.loads(found["Body"].read()) == {"rows": 3}


def test_a_stable_place_is_one_known_key(make_s3: Callable[..., S3IO]) -> None:
    assert make_s3(placement="stable").store(CONTEXT, 1).location == "raw/2025-01-15/value.json"


def test_a_pickle_is_read_by_who_asked_for_pickles_only(make_s3: Callable[..., S3IO], s3_client: Any) -> None:
    manager = make_s3()
    planted = StoredValue("s3", "raw/planted.pickle", "v")
    s3_client.put_object(Bucket=manager.bucket, Key=f"{manager.prefix}{planted.location}", Body=pickle.dumps("harm"))
    with pytest.raises(IOManagerError, match="is a pickle; give format='pickle'") as refused:
        manager.load(CONTEXT, planted)
    assert not refused.value.retryable
    assert make_s3(format="pickle").load(CONTEXT, planted) == "harm"


@pytest.mark.parametrize("location", ["../x", "/etc", "a//b", "", "a/./b", "a\0b"])
def test_no_location_leaves_the_prefix(make_s3: Callable[..., S3IO], location: str) -> None:
    manager, stored = make_s3(), StoredValue("s3", location, "v")
    for call in (lambda: manager.load(CONTEXT, stored), lambda: manager.exists(CONTEXT, stored),
                 lambda: manager.delete(stored)):
        with pytest.raises(IOManagerError, match="below the root"):
            call()


def test_a_bucket_that_is_missing_is_an_error_that_names_it(make_s3: Callable[..., S3IO], s3_client: Any) -> None:
    manager = S3IO("nowhere", client=s3_client)
    for call in (lambda: manager.store(CONTEXT, 1), lambda: manager.load(CONTEXT, StoredValue("s3", "a.json", "v"))):
        with pytest.raises(IOManagerError, match="s3://nowhere/.* there is no such bucket") as refused:
            call()
        assert not refused.value.retryable


class Refusing:
    """A client whose every call is refused by the service with this code."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __getattr__(self, operation: str) -> Any:
        from botocore.exceptions import ClientError

        def call(**arguments: Any) -> Any:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, operation)

        return call


@pytest.mark.parametrize(("code", "retryable"), [("AccessDenied", False), ("403", False), ("SlowDown", True)])
def test_what_the_service_refuses_says_why_and_whether_to_come_again(code: str, retryable: bool) -> None:
    manager, stored = S3IO("data", client=Refusing(code)), StoredValue("s3", "raw/a.json", "v")
    calls = [lambda: manager.store(CONTEXT, 1), lambda: manager.load(CONTEXT, stored),
             lambda: manager.exists(CONTEXT, stored), lambda: manager.delete(stored)]
    for call in calls:
        with pytest.raises(IOManagerError, match=r"s3://data/raw/.* failed") as refused:
            call()
        assert refused.value.retryable is retryable


def test_a_service_that_cannot_be_reached_is_a_retryable_error(s3_endpoint: str) -> None:
    import boto3
    from botocore.config import Config

    config = Config(retries={"max_attempts": 1}, connect_timeout=1, read_timeout=1)
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:1", config=config)
    with pytest.raises(IOManagerError, match="put_object of s3://data/.*Could not connect") as refused:
        S3IO("data", client=client).store(CONTEXT, 1)
    assert refused.value.retryable


def test_a_client_of_its_own_is_made_when_first_used(s3_endpoint: str, s3_client: Any) -> None:
    manager = S3IO("values", prefix="own", endpoint_url=s3_endpoint)
    stored = manager.store(replace(CONTEXT, run_id="run_own"), [1])
    assert manager.load(CONTEXT, stored) == [1]


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object(), "\ud800"])
def test_what_json_cannot_hold_is_refused(make_s3: Callable[..., S3IO], value: Any) -> None:
    with pytest.raises(IOManagerError, match="a value that json can hold"):
        make_s3().store(CONTEXT, value)


@pytest.mark.parametrize(
    "options", [{"bucket": ""}, {"bucket": None}, {"prefix": 3}, {"prefix": "x" * 600}, {"format": "pikle"},
                {"placement": "atempt"}],
)
def test_bad_options_are_refused_where_they_are_given(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected"):
        S3IO(**{"bucket": "data", **options})


WRITER = """
import sys
import boto3
from flowstone.io import S3IO, IOContext
client = boto3.client("s3", endpoint_url=sys.argv[1])
values = S3IO(sys.argv[2], prefix=sys.argv[3], client=client, format="pickle", placement=sys.argv[4])
for n in range(1_000_000):
    print(n, flush=True)
    values.store(IOContext(asset="raw", partition=n % 3, run_id="run_a", attempt=n), b"x" * 3_000_000)
"""


@pytest.mark.crash
@pytest.mark.parametrize("placement", ["attempt", "stable"])
def test_a_killed_writer_leaves_whole_values_only(
    make_s3: Callable[..., S3IO], s3_client: Any, s3_endpoint: str, placement: Any
) -> None:
    manager = make_s3(format="pickle", placement=placement)
    given = [s3_endpoint, manager.bucket, manager.prefix, placement]
    for kill in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *given], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(random.randint(2, 8)):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        listed = s3_client.list_objects_v2(Bucket=manager.bucket, Prefix=manager.prefix)["Contents"]
        for each in listed:
            body = s3_client.get_object(Bucket=manager.bucket, Key=each["Key"])["Body"].read()
            assert pickle.loads(body) == b"x" * 3_000_000, (kill, each["Key"])
    assert manager.store(CONTEXT, 1).bytes
