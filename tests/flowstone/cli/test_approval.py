"""`flowstone approval`: what waits for people is shown and decided, and what follows is made later."""

import importlib

import pytest

import flowstone as fs

ASKING = '''
import flowstone as fs

shop = fs.Pipeline("shop")


@shop.asset
def report(context):
    if context.approval is None:
        return fs.WaitForApproval("sure?", context={"rows": 3})
    return context.approval.payload
'''


@pytest.fixture
def asked(call, directory, monkeypatch):
    """The id of what a report asks, and how to call commands about it."""
    (directory / "asking.py").write_text(ASKING, "utf-8")

    def about(*words):
        return call(*words, "--json", app="asking:shop", store="sqlite:///asking.db")

    monkeypatch.syspath_prepend(str(directory))
    shop = importlib.import_module("asking").shop
    with fs.Runtime(shop, store="sqlite:///asking.db") as runtime:
        runtime.materialize_async("report", partition="a")
        runtime.drain(timeout=20)
    [row] = about("approval", "list").json
    assert (row["message"], row["context"], row["status"]) == ("sure?", {"rows": 3}, "pending")
    return row["id"], about


@pytest.mark.parametrize(
    ("words", "status"),
    [(("approve",), "approved"), (("reject",), "rejected"), (("modify", '{"limit": 1}'), "modified")],
)
def test_a_question_is_decided_once(asked, words, status):
    (id, about), (word, *payload) = asked, words
    decided = about("approval", word, id, *payload, "--by", "ada", "--reason", "looked at it").json
    assert (decided["status"], decided["by"], decided["reason"]) == (status, "ada", "looked at it")
    refused = about("approval", "approve", id)
    assert (refused.code, "ada" in refused.json["error"]["message"]) == (1, True)
    assert about("approval", "show", id).json["status"] == status
    assert about("approval", "list").json == []
    assert about("audit", "list", "--event-type", f"approval.{status}").json[0]["actor"] == "ada"


def test_an_unknown_approval_is_not_found(asked):
    assert asked[1]("approval", "approve", "none").json["error"]["type"] == "approval_not_found"


def test_a_run_that_failed_is_asked_for_again(asked):
    id, about = asked
    about("approval", "reject", id)
    [run] = about("runs", "list", "--status", "failed").json
    again = about("runs", "retry", run["run_id"], "--by", "ada").json
    assert (again["retry_of"], again["status"]) == (run["run_id"], "queued")
    assert about("runs", "retry", again["run_id"]).json["error"]["type"] == "validation_error"
