"""Habits of importing: cheap, without anything heavy, without a thread."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "boto3", "botocore", "click", "gevent", "greenlet", "moto", "peewee", "playhouse", "psycopg", "psycopg2",
    "pytest", "requests", "rich", "sqlite3", "urllib3",
}  # fmt: skip
MOST_MODULES = {"actors": 250, "flowstone": 400}
PROBE = """
import json, sys, threading
before = set(sys.modules)
import {package}
new = sorted(set(sys.modules) - before)
print(json.dumps({{"modules": new, "threads": [t.name for t in threading.enumerate()]}}))
"""


def output_of(program: str) -> str:
    """What a program prints in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("package", ["actors", "flowstone"])
def test_importing_is_cheap_and_starts_nothing(package: str) -> None:
    seen = json.loads(output_of(PROBE.format(package=package)))
    assert {name.partition(".")[0] for name in seen["modules"]} & HEAVY == set()
    assert seen["threads"] == ["MainThread"]
    assert len(seen["modules"]) < MOST_MODULES[package]


def test_actors_know_nothing_of_flowstone() -> None:
    program = "import actors, actors.testing, sys; print(any(name.startswith('flowstone') for name in sys.modules))"
    assert output_of(program).strip() == "False"
