"""Partitions on the command line: whatever a row shows can be asked for, whether a partition set reads it or not."""

from __future__ import annotations

import sys

import pytest

from flowstone.cli.partition import readings
from flowstone.errors import PartitionError

NUMBERED = '''
from datetime import date

import flowstone as fs
from flowstone.sensors import Push

numbered = fs.Pipeline("numbered")
PARTITIONS = {"number": 42, "text": "42", "day": date(2025, 1, 15), "pair": (date(2025, 1, 15), 7), "url": "http://x"}


@numbered.asset
def count(context):
    return repr(context.partition)


@numbered.asset
def total(context, count):
    return count


@numbered.asset(partitions=fs.Static(["a|b", "2025-01-15", "eu"]))
def region(context):
    return repr(context.partition)


@numbered.asset(partitions=fs.Dynamic("customers"))
def customer(context):
    return repr(context.partition)


@numbered.asset(partitions=fs.Daily(start="2025-01-01"))
def day(context):
    return repr(context.partition)


numbered.sensor("all", Push(), target="+total", partition=lambda name: PARTITIONS[name])
numbered.schedule("nightly", cron="0 2 * * *", target="total")
'''


@pytest.fixture
def numbered(call, directory):
    """Calls the command line on a pipeline whose assets have no partition set, or one of texts that look otherwise."""
    (directory / "numbered.py").write_text(NUMBERED, "utf-8")
    yield lambda *words: call(*words, app="numbered:numbered", store="sqlite:///numbered.db")
    sys.modules.pop("numbered", None)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("i:42", "42"),
        ("42", "'42'"),
        ("2025-01-15", "datetime.date(2025, 1, 15)"),
        ("d:2025-01-15", "datetime.date(2025, 1, 15)"),
        ("2025-01-15|i:7", "(datetime.date(2025, 1, 15), 7)"),
        ("http://x", "'http://x'"),
        ("", "None"),
    ],
)
def test_without_a_set_a_text_is_what_the_store_holds_under_it(numbered, directory, text, meant):
    made = numbered("asset", "materialize", "count", "--partition", text, "--json")
    assert made.code == 0
    assert numbered("backfill", "start", "count", "--partitions", text, "--json").json["skipped"] == 1
    assert numbered("asset", "materialize", "total", "--partition", text).code == 0
    trigger = numbered("schedule", "trigger", "nightly", "--partition", text, "--json").json
    assert (trigger["status"], trigger["partition"]) == ("triggered", made.json["partition"])
    [value] = [path for path in (directory / "numbered.db.values" / "count").rglob("*") if path.is_file()]
    assert meant.encode() in value.read_bytes()


@pytest.mark.parametrize(("pushed", "text"), [("number", "42"), ("day", "2025-01-15"), ("url", "http://x")])
def test_what_rows_show_is_found(numbered, pushed, text):
    [run_id] = numbered("sensor", "push", "all", f'"{pushed}"', "--message-id", "one", "--json").json["run_ids"]
    numbered("asset", "materialize", "region", "--partition", "eu")     # makes what is queued too
    [row] = numbered("runs", "list", "--partition", text, "--json").json
    assert row["run_id"] == run_id
    for words in (("asset", "why"), ("why",)):
        assert numbered(*words, "total", "--partition", text, "--json").json["status"] == "fresh"
    assert len(numbered("asset", "lineage", "total", "--partition", text, "--json").json) == 1
    states = numbered("asset", "graph", "+total", "--partition", text, "--json").json
    assert [state["status"] for state in states] == ["fresh", "fresh"]


def test_of_two_that_look_alike_the_text_comes_first(numbered):
    runs = {
        name: numbered("sensor", "push", "all", f'"{name}"', "--message-id", name, "--json").json["run_ids"]
        for name in ("number", "text")
    }
    for name, text in (("text", "42"), ("number", "i:42")):
        assert [row["run_id"] for row in numbered("runs", "list", "--partition", text, "--json").json] == runs[name]


def test_a_tuple_is_shown_as_it_is_asked_for(numbered):
    numbered("sensor", "push", "all", '"pair"', "--message-id", "pair")
    assert "2025-01-15|i:7" in numbered("runs", "list").out
    [row] = numbered("runs", "list", "--partition", "2025-01-15|i:7", "--json").json
    assert row["partition"] == ["2025-01-15", 7]
    assert "2025-01-15|i:7" in numbered("runs", "show", row["run_id"]).out


def test_a_set_reads_its_keys_whatever_they_look_like(numbered):
    for key in ("a|b", "2025-01-15"):
        assert numbered("asset", "materialize", "region", "--partition", key).code == 0
        [row] = numbered("runs", "list", "--partition", key, "--json").json
        assert row["partition"] == key
        assert numbered("asset", "why", "region", "--partition", key, "--json").json["status"] == "fresh"
    refused = numbered("asset", "materialize", "region", "--partition", "us", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "partition_error")
    assert numbered("asset", "materialize", "day", "--partition", "d:2025-01-15").code == 0
    refused = numbered("asset", "materialize", "day", "--partition", "i:7")
    assert "expected dates such as '2025-01-15', got: 'i:7'" in refused.err


def test_the_keys_of_a_dynamic_set_are_known(numbered):
    assert "does not hold 'acme'" in numbered("asset", "materialize", "customer", "--partition", "acme").err
    code = (
        "import flowstone as fs, numbered\n"
        "with fs.Client(numbered.numbered, store='sqlite:///numbered.db') as client:\n"
        "    client.partitions.add('customers', 'acme')\n"
    )
    exec(code)
    assert numbered("asset", "materialize", "customer", "--partition", "acme").code == 0


def test_nothing_between_commas_is_refused(numbered):
    refused = numbered("backfill", "start", "count", "--partitions", "i:1,", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "validation_error")


def test_a_damaged_key_of_the_store_is_refused():
    with pytest.raises(PartitionError):
        readings("t:damaged")
