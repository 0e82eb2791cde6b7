"""`flowstone schedule`: rows and instants as programs rely on them, and what people decide."""

import pytest

ATTRIBUTES = {"name", "target", "cron", "every", "timezone", "enabled", "version", "last_scheduled_for", "metadata"}
TICK = {"tick_id", "scheduled_for", "status", "reason", "run_id", "partition", "error", "blocked_by", "count"}


def test_schedules_are_listed_with_the_attributes_of_their_rows(call):
    daily, hourly = call("schedule", "list", "--json").json
    assert ATTRIBUTES <= daily.keys()
    assert (daily["name"], daily["cron"], daily["enabled"], daily["last_scheduled_for"]) == (
        *("daily", "0 2 * * *", True, None),
    )
    assert hourly["target"] == "stall"


def test_a_list_for_people_is_a_table(call):
    listed = call("schedule", "list")
    assert listed.code == 0
    assert [word for word in ("daily", "active", "America/New_York") if word not in listed.out] == []


def test_a_preview_gives_the_next_instants(call):
    instants = call("schedule", "preview", "hourly", "--count", "3", "--json").json
    assert len(instants) == 3
    assert all(instant.endswith(":00:00+00:00") for instant in instants)
    assert call("schedule", "preview", "hourly", "--count", "2").out.count(":00:00Z") == 2


def test_a_trigger_makes_a_tick_and_its_run(call):
    tick = call("schedule", "trigger", "daily", "--partition", "2025-01-15", "--json").json
    assert TICK <= tick.keys()
    assert (tick["status"], tick["partition"]) == ("triggered", "2025-01-15")
    assert call("runs", "show", tick["run_id"], "--json").json["status"] == "queued"


def test_a_trigger_at_an_instant_makes_one_tick_however_often_it_is_called(call):
    words = ("schedule", "trigger", "daily", "--at", "2025-01-15T02:00:00-05:00", "--json")
    first, second = call(*words).json, call(*words).json
    assert first == second
    assert (first["tick_id"], first["partition"]) == ("daily:1736924400", "2025-01-14")


@pytest.mark.parametrize("at", ["2025-01-15T02:00:00", "yesterday"])
def test_an_instant_without_offset_is_bad_usage(call, at):
    refused = call("schedule", "trigger", "daily", "--at", at)
    assert (refused.code, refused.out) == (2, "")
    assert "with its offset" in refused.err


def test_a_partition_that_the_target_does_not_hold_is_refused(call):
    refused = call("schedule", "trigger", "daily", "--partition", "2024-01-15", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "partition_error")


def test_pause_and_resume_are_kept_and_audited(call):
    assert call("schedule", "pause", "daily", "--by", "ada", "--json").json["enabled"] is False
    assert call("schedule", "list", "--json").json[0]["status"] == "paused"
    assert call("schedule", "resume", "daily", "--by", "ada", "--json").json["enabled"] is True
    audit = call("audit", "list", "--actor", "ada", "--json").json
    assert [row["event_type"] for row in audit] == ["schedule.resumed", "schedule.paused"]


def test_history_is_newest_first_and_pages(call):
    made = [call("schedule", "trigger", "hourly", "--json").json["tick_id"] for _ in range(3)]
    first = call("schedule", "history", "hourly", "--limit", "2", "--json")
    assert [tick["tick_id"] for tick in first.json] == made[:0:-1]
    cursor = first.err.split()[-1]
    second = call("schedule", "history", "hourly", "--limit", "2", "--cursor", cursor, "--json")
    assert [tick["tick_id"] for tick in second.json] == made[:1]
    assert second.err == ""


def test_history_is_filtered_by_status(call):
    call("schedule", "trigger", "hourly")
    assert call("schedule", "history", "hourly", "--status", "missed", "--json").json == []
    assert len(call("schedule", "history", "hourly", "--status", "triggered", "--json").json) == 1
    refused = call("schedule", "history", "hourly", "--status", "triggred")
    assert (refused.code, "missed" in refused.err) == (2, True)


def test_an_unknown_schedule_is_not_found_and_the_nearest_is_suggested(call):
    refused = call("schedule", "pause", "dayly", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "schedule_not_found")
    assert "did you mean 'daily'" in refused.err


def test_without_a_pipeline_definitions_stay_as_they_are(call):
    before = call("schedule", "list", "--json").json
    assert call("schedule", "list", "--json", app=None).json == before
    assert call("schedule", "pause", "daily", "--json", app=None).code == 0
    assert {row["status"] for row in call("schedule", "list", "--json", app=None).json} == {"active", "paused"}


def test_a_trigger_needs_the_pipeline(call):
    call("schedule", "list")
    refused = call("schedule", "trigger", "daily", app=None)
    assert (refused.code, "--app" in refused.err) == (1, True)
