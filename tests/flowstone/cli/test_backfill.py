"""`flowstone backfill`: started, followed and decided over, with a service or without one."""

import signal

import pytest

LETTERS = '''
import flowstone as fs

shop = fs.Pipeline("shop")


@shop.asset
def each(context):
    return {"a": 1, "b": 2}[context.partition]
'''

WORDS = ("backfill", "start", "day", "--partitions")


def test_a_backfill_is_made_in_the_commands_own_process(call):
    made = call(*WORDS, "2025-01-01..2025-01-05", "--max-parallel", "2", "--json")
    assert (made.code, made.json["status"], made.json["total"], made.json["succeeded"]) == (0, "success", 5, 5)
    again = call(*WORDS, "2025-01-05,2025-01-06", "--json").json
    assert (again["succeeded"], again["skipped"]) == (1, 1)
    forced = call(*WORDS, "2025-01-05", "--force", "--id", "mine", "--json").json
    assert (forced["id"], forced["succeeded"], forced["skipped"]) == ("mine", 1, 0)
    assert [row["id"] for row in call("backfill", "status", "--json").json][0] == "mine"
    assert call("backfill", "status", "mine", "--json").json["failures"] == []
    assert "mine" in call("backfill", "status").out


def test_what_is_left_to_nobody_waits_and_is_decided_over(call):
    id = call(*WORDS, "2025-01-01..2025-01-31", "--detach", "--json").json["id"]
    for word, status in (("pause", "paused"), ("resume", "running")):
        assert call("backfill", word, id, "--by", "ada", "--json").json["status"] == status
    assert call("backfill", "wait", id, "--json").json["succeeded"] == 31
    refused = call("backfill", "cancel", id, "--json")
    assert (refused.code, "which is success" in refused.json["error"]["message"]) == (1, True)
    cancelled = call(*WORDS, "2025-02-01", "--detach", "--json").json["id"]
    assert call("backfill", "cancel", cancelled, "--json").json["status"] == "cancelled"
    assert call("backfill", "wait", cancelled).code == 1


def test_failures_are_shown_and_tried_again(call, directory):
    (directory / "letters.py").write_text(LETTERS, "utf-8")
    shop = {"app": "letters:shop", "store": "sqlite:///letters.db"}
    made = call("backfill", "start", "each", "--partitions", "a,b,c", "--json", **shop)
    assert (made.code, made.json["status"], made.json["failed"]) == (1, "failed", 1)
    [lost] = call("backfill", "status", made.json["id"], "--json", **shop).json["failures"]
    assert (lost["partition"], lost["status"]) == ("c", "failed")
    assert "KeyError" in call("backfill", "status", made.json["id"], **shop).out
    assert call("backfill", "retry", made.json["id"], "--json", **shop).json["pending"] == 1
    assert call("backfill", "wait", made.json["id"], **shop).code == 1


@pytest.mark.parametrize("partitions", ["2025-01-05..2025-01-01", "yesterday", "2024-01-01"])
def test_wrong_partitions_are_refused(call, partitions):
    refused = call(*WORDS, partitions, "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "partition_error")


def test_an_unknown_backfill_is_not_found(call):
    call("schedule", "list")
    for word in ("status", "wait", "pause", "resume", "cancel", "retry"):
        refused = call("backfill", word, "none", "--json")
        assert (refused.code, refused.json["error"]["type"]) == (1, "backfill_not_found")


def test_the_service_makes_what_is_started_beside_it(service, call):
    made = call(*WORDS, "2025-01-01..2025-01-03", "--json")
    assert (made.code, made.json["succeeded"]) == (0, 3)
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0


def test_a_backfill_is_listed_and_tried_again_by_the_names_of_the_calls(call):
    begun = call("backfill", "start", "stall", "--partitions", "a,b", "--json").json
    assert [row["id"] for row in call("backfill", "list", "--json").json] == [begun["id"]]
    assert call("backfill", "list", "--json").json == call("backfill", "status", "--json").json
    assert call("backfill", "retry-failed", begun["id"], "--json").json["id"] == begun["id"]
