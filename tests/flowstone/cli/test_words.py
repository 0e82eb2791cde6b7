"""What holds for groups of commands: help, suggestions, completion, and errors that nobody foresaw."""

import pytest

from flowstone.errors import RuntimeStopped


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (("schedul", "list"), "'schedule'"),
        (("schedule", "lst"), "'list'"),
        (("sensor", "rewnd", "counting"), "'rewind'"),
        (("schedule", "list", "--jsn"), "--json"),
        (("db", "prune", "--older-then", "3d"), "--older-than"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(call, words, suggestion):
    refused = call(*words)
    assert (refused.code, refused.out) == (2, "")
    assert suggestion in refused.err


@pytest.mark.parametrize("group", ["schedule", "sensor", "runs", "db", "audit"])
def test_a_group_tells_its_commands(call, group):
    told = call(group, "--help")
    assert (told.code, "Commands:" in told.out) == (0, True)


def test_shared_options_go_in_any_place(call):
    call("schedule", "list")
    before, between, after = (
        call(*words) for words in (("--json", "runs", "list"), ("runs", "--json", "list"), ("runs", "list", "--json"))
    )
    assert before.json == between.json == after.json == []


def test_what_nobody_foresaw_is_one_line_with_its_place(call, monkeypatch):
    def fail(*_options, **_more):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr("flowstone.cli.schedule.client_of", fail)
    failed = call("schedule", "list", "--json")
    assert (failed.code, failed.json["error"]["type"]) == (1, "internal_error")
    assert "ZeroDivisionError: nobody foresaw this" in failed.err
    assert "Traceback" not in failed.err


def test_errors_of_the_tree_keep_their_type(call, monkeypatch):
    def fail(*_options, **_more):
        raise RuntimeStopped("it is over")

    monkeypatch.setattr("flowstone.cli.schedule.client_of", fail)
    assert call("schedule", "list", "--json").json["error"]["type"] == "runtime_stopped"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(flowstone, environment, shell):
    environment["_FLOWSTONE_COMPLETE"] = f"{shell}_source"
    ran = flowstone()
    assert (ran.returncode, "_FLOWSTONE_COMPLETE" in ran.stdout) == (0, True)


def test_words_are_completed(flowstone, environment):
    environment |= {"_FLOWSTONE_COMPLETE": "bash_complete", "COMP_WORDS": "flowstone schedule tri", "COMP_CWORD": "2"}
    assert flowstone().stdout.split() == ["plain,trigger"]


def test_names_that_the_store_knows_are_completed(flowstone, environment):
    assert flowstone("--app", "market:market", "--store", "sqlite:///market.db", "schedule", "list").returncode == 0
    words = "flowstone --store sqlite:///market.db schedule pause d"
    environment |= {"_FLOWSTONE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    assert flowstone().stdout.split() == ["plain,daily"]
    environment["COMP_WORDS"] = words.replace("market.db", "none.db")
    assert flowstone().stdout.strip() == ""
