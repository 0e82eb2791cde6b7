"""`flowstone runs`: rows as programs rely on them, and cancelling."""

import pytest

ATTRIBUTES = {
    *("run_id", "run_key", "status", "asset", "partition", "attempt", "interruptions", "error", "retry_of"),
}


def test_runs_are_listed_newest_first_and_filtered(call):
    first = call("schedule", "trigger", "daily", "--partition", "2025-01-15", "--json").json
    second = call("sensor", "poll", "counting", "--json").json
    rows = call("runs", "list", "--json").json
    assert ATTRIBUTES <= rows[0].keys()
    assert [row["run_id"] for row in rows] == [*second["run_ids"], first["run_id"]]
    assert [row["asset"] for row in call("runs", "list", "--asset", "day", "--json").json] == ["day"]
    assert call("runs", "list", "--status", "success", "--json").json == []
    assert first["run_id"] in call("runs", "list").out


def test_runs_and_ticks_are_found_by_their_partition(call):
    run_id = call("schedule", "trigger", "daily", "--partition", "2025-01-15", "--json").json["run_id"]
    call("schedule", "trigger", "daily", "--partition", "2025-01-16")
    for partition in ("2025-01-15", "d:2025-01-15"):
        for command in (("runs", "list"), ("schedule", "history", "daily")):
            (row,) = call(*command, "--partition", partition, "--json").json
            assert (row["run_id"], row["partition"]) == (run_id, "2025-01-15")
    assert call("runs", "list", "--partition", "t:damaged").code == 2


def test_one_run_is_shown_with_its_assets(call):
    run_id = call("sensor", "poll", "counting", "--json").json["run_ids"][0]
    run = call("runs", "show", run_id, "--json").json
    assert [(made["asset"], made["partition"], made["status"]) for made in run["materializations"]] == [
        ("stall", "p0", "pending")
    ]
    assert run_id in call("runs", "show", run_id).out


def test_a_run_is_cancelled_once(call):
    run_id = call("sensor", "poll", "counting", "--json").json["run_ids"][0]
    cancelled = call("runs", "cancel", run_id, "--reason", "not today", "--json").json
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "not today")
    again = call("runs", "cancel", run_id, "--json")
    assert (again.code, "which is cancelled" in again.json["error"]["message"]) == (1, True)


def test_an_unknown_run_is_not_found(call):
    call("schedule", "list")
    refused = call("runs", "show", "run_none", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "run_not_found")


def test_looking_at_a_store_that_is_not_there_makes_none(call, directory):
    refused = call("runs", "list", "--json", app=None)
    assert (refused.code, refused.json["error"]["type"]) == (1, "store_unavailable")
    assert not (directory / "market.db").exists()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        *(("approval list", []), ("backfill list", []), ("backfill status", []), ("asset lineage stall", [])),
        *((f"approval {word} approval_none", "approval_not_found") for word in ("show", "approve", "reject")),
        *((f"backfill {word} january", "backfill_not_found") for word in ("status", "wait", "pause", "retry-failed")),
        *(("runs retry run_none", "run_not_found"), ("why run_none", "validation_error")),
    ],
)
def test_what_the_pipeline_alone_can_answer_is_answered_and_makes_no_store(call, directory, words, answer):
    called = call(*words.split(), "--json")
    assert (called.json if called.code == 0 else called.json["error"]["type"]) == answer
    assert "there is no store at sqlite:///market.db yet" in called.err
    assert not (directory / "market.db").exists()


def test_how_assets_stand_needs_no_store(call, directory):
    answer = call("asset", "why", "stall")
    assert (answer.code, answer.out) == (0, "stall is stale: nobody has asked for it.\n")
    assert call("asset", "graph", "stall", "--status", "--json").json[0]["status"] == "stale"
    assert not (directory / "market.db").exists()


def test_requests_whose_run_key_stands_for_another_run_are_listed(call):
    assert call("runs", "conflicts", "--json").code == 1
    for partition, code in (("2025-01-15", 0), ("2025-01-16", 1), ("2025-01-17", 1)):
        assert call("asset", "materialize", "day", "--partition", partition, "--run-key", "k").code == code
    newest, first = call("runs", "conflicts", "--json").json
    assert newest.keys() == {"run_key", "existing_fingerprint", "requested_fingerprint", "source", "at"}
    assert {newest["run_key"], first["run_key"]} == {"k"}
    assert newest["requested_fingerprint"] != first["requested_fingerprint"] != first["existing_fingerprint"]
    page = call("runs", "conflicts", "--limit", "1")
    assert "there is more: --cursor" in page.err
    assert newest["requested_fingerprint"] in page.out


def test_a_page_has_its_bounds(call):
    call("schedule", "list")
    for limit in ("0", "99999999999999999999"):
        assert call("runs", "list", "--limit", limit).code == 2
    assert call("runs", "list", "--limit", "1000000").code == 0
