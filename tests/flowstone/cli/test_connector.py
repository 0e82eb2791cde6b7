"""`flowstone connector` and `flowstone queue`: rows and exit codes as programs rely on them."""

import json


def test_a_task_is_created_changed_listed_and_deleted(call):
    made = call("connector", "create", "beat", "--cron", "*/5 * * * *", "--event-type", "tick", "--json").json
    assert (made["name"], made["status"], made["payload"], made["timezone"]) == ("beat", "active", {}, "UTC")
    assert call("connector", "update", "beat", "--payload", '{"a": 1}', "--json").json["payload"] == {"a": 1}
    assert call("connector", "disable", "beat", "--json").json["status"] == "disabled"
    assert call("connector", "update", "beat", "--enabled", "--json").json["enabled"] is True
    assert [task["name"] for task in call("connector", "list", "--json").json] == ["beat"]
    assert "beat" in call("connector", "list").out
    assert call("connector", "delete", "beat").code == 0
    assert call("connector", "list", "--json").json == []


def test_a_task_of_another_meaning_is_refused(call):
    words = ("connector", "create", "beat", "--event-type", "tick", "--cron")
    assert call(*words, "0 * * * *").code == 0
    assert call(*words, "0 * * * *").code == 0
    refused = call(*words, "1 * * * *", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "validation_error")
    assert call(*words, "61 * * * *", "--json").json["error"]["type"] == "cron_error"


def test_an_event_is_emitted_and_logged(call):
    id = call("connector", "emit", "order.placed", '{"n": 1}', "--json").json["id"]
    (row,) = call("connector", "events", "--json").json
    assert (row["id"], row["event_type"], row["payload"], row["result"]) == (id, "order.placed", {"n": 1}, "pending")
    assert call("connector", "events", "--task", "nobody", "--json").json == []
    assert call("connector", "dead-letters", "--json").json == []
    assert call("connector", "requeue", "evt_nobody").code == 1
    assert call("connector", "emit", "order.placed", "{no json}").code == 2


def test_connectors_are_loaded_from_a_file(call, tmp_path):
    node = {
        "id": "pulse",
        "config": {
            "scheduledTask": {"name": "pulse", "cronExpression": "* * * * *", "signalEventType": "signal.pulse"}
        },
    }
    (tmp_path / "pulse.json").write_text(json.dumps(node))
    (task,) = call("connector", "load", str(tmp_path / "pulse.json"), "--json").json
    assert task["event_type"] == "connector.trigger.pulse"
    (tmp_path / "wrong.json").write_text("{}")
    assert call("connector", "load", str(tmp_path / "wrong.json")).code == 1


def test_a_queue_serves_its_messages(call):
    assert call("queue", "create", "orders").code == 0
    id = call("queue", "send", "orders", '{"n": 1}', "--json").json["msg_id"]
    (message,) = call("queue", "read", "orders", "--vt", "0s", "--json").json
    assert (message["msg_id"], message["read_ct"], message["message"]) == (id, 1, {"n": 1})
    assert call("queue", "metrics", "orders", "--json").json["queue_length"] == 1
    assert call("queue", "archive", "orders", str(id)).code == 0
    assert call("queue", "archive", "orders", str(id)).code == 1
    assert call("queue", "delete", "orders", "99").code == 1
    call("queue", "send", "orders", "1")
    call("queue", "send", "orders", "2", "--delay", "1h")
    assert [message["message"] for message in call("queue", "pop", "orders", "--qty", "5", "--json").json] == [1]
    assert call("queue", "purge", "orders", "--json").json == {"deleted": 1}
    assert [row["name"] for row in call("queue", "list", "--json").json] == ["orders"]
    assert call("queue", "drop", "orders").code == 0
    assert call("queue", "drop", "orders").code == 1
    assert call("queue", "read", "orders").code == 1
