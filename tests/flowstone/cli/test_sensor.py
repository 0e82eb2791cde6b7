"""`flowstone sensor`: polls in the command's own process, pushes, and what people do to a sensor's state."""

import pytest

ATTRIBUTES = {
    *("name", "kind", "type", "status", "reason", "state", "cursor", "state_version", "consecutive_failures"),
    "poll_interval",
}
EVALUATION = {
    *("eval_id", "eval_key", "status", "reason", "reason_code", "expected_state_version", "state_version_after"),
    *("cursor_before", "cursor_after", "request_count", "run_ids", "at"),
}


def test_sensors_are_listed_with_the_attributes_of_their_rows(call):
    counting, messages = call("sensor", "list", "--json").json
    assert ATTRIBUTES <= counting.keys()
    assert (counting["name"], counting["kind"], counting["poll_interval"]) == ("counting", "poll", 3600.0)
    assert (messages["name"], messages["kind"], messages["poll_interval"]) == ("messages", "push", None)
    assert "counting" in call("sensor", "list").out


def test_a_poll_runs_here_and_leaves_its_run_to_the_service(call):
    evaluation = call("sensor", "poll", "counting", "--json").json
    assert EVALUATION <= evaluation.keys()
    assert (evaluation["status"], evaluation["cursor_after"]["state"]) == ("triggered", 1)
    (run,) = call("runs", "list", "--json").json
    assert (run["run_id"], run["status"], run["partition"]) == (evaluation["run_ids"][0], "queued", "p0")


def test_a_poll_that_fails_is_recorded_and_fails_the_command(call, directory):
    (directory / "broken").touch()
    failed = call("sensor", "poll", "counting", "--json")
    assert (failed.code, failed.json["reason_code"]) == (1, "exception:ValueError")
    assert "no more" in failed.json["reason"]
    assert call("sensor", "history", "counting", "--status", "error", "--json").json == [failed.json]


def test_a_push_is_known_by_its_message_id(call):
    words = ("sensor", "push", "messages", '{"stall": "fruit"}', "--message-id", "m-1", "--json")
    first, second = call(*words).json, call(*words).json
    assert first == second
    assert first["status"] == "triggered"
    assert call("runs", "list", "--json").json[0]["partition"] == "fruit"


def test_a_push_that_fails_fails_the_command(call):
    failed = call("sensor", "push", "messages", "{}", "--message-id", "m-1", "--json")
    assert (failed.code, failed.json["reason_code"]) == (1, "exception:KeyError")


def test_a_push_needs_a_message_id_and_json(call):
    assert call("sensor", "push", "messages", "{}", "--json").json["error"]["type"] == "validation_error"
    refused = call("sensor", "push", "messages", "{stall", "--message-id", "m-1")
    assert (refused.code, "expected JSON" in refused.err) == (2, True)


def test_reset_takes_a_state_or_null_for_the_first_one(call):
    call("sensor", "poll", "counting")
    assert call("sensor", "reset", "counting", "7", "--json").json["state"] == 7
    assert call("sensor", "poll", "counting", "--json").json["cursor_after"]["state"] == 8
    assert call("sensor", "reset", "counting", "null", "--json").json["state"] == 0


def test_rewind_triggers_again_what_came_later(call):
    first = call("sensor", "poll", "counting", "--json").json
    later = call("sensor", "poll", "counting", "--json").json
    rewound = call("sensor", "rewind", "counting", "--to", first["eval_id"], "--json").json
    assert rewound["state"] == 1
    again = call("sensor", "poll", "counting", "--json").json
    assert again["request_count"] == 1
    assert again["run_ids"] != later["run_ids"]
    assert call("sensor", "rewind", "counting").code == 2


def test_pause_and_resume_are_kept_with_their_reason(call):
    paused = call("sensor", "pause", "counting", "--reason", "the market is closed", "--json").json
    assert (paused["status"], paused["reason"]) == ("paused", "the market is closed")
    assert call("sensor", "poll", "counting", "--json").json["reason"] == "paused"
    assert call("sensor", "resume", "counting", "--json").json["status"] == "active"


def test_history_pages_and_is_filtered(call):
    made = [call("sensor", "poll", "counting", "--json").json["eval_id"] for _ in range(3)]
    page = call("sensor", "history", "counting", "--limit", "2", "--json")
    assert [row["eval_id"] for row in page.json] == made[:0:-1]
    assert page.err.startswith("there is more: --cursor ")
    assert call("sensor", "history", "counting", "--status", "no_trigger", "--json").json == []
    assert call("sensor", "history", "counting", "--since", "2999-01-01T00:00:00Z", "--json").json == []
    assert made[0] in call("sensor", "history", "counting").out


@pytest.mark.parametrize("words", [("poll", "countng"), ("pause", "countng"), ("history", "countng")])
def test_an_unknown_sensor_is_not_found_and_the_nearest_is_suggested(call, words):
    refused = call("sensor", *words, "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "sensor_not_found")
    assert "did you mean 'counting'" in refused.err


def test_a_polled_sensor_takes_no_push(call):
    refused = call("sensor", "push", "counting", "{}", "--message-id", "m-1")
    assert (refused.code, "it is polled" in refused.err) == (1, True)
