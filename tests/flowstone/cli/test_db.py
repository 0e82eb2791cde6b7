"""`flowstone db`: tables, their contents, and old history."""

import os

import pytest

from flowstone.state.database import Database


def test_a_store_is_made_and_brought_up_to_date_once(call):
    first, second = call("db", "migrate", "--json").json, call("db", "migrate", "--json").json
    assert first["applied"][0] == "0001_initial"
    assert (first["status"], second["status"], second["applied"]) == ("up to date", "up to date", [])
    assert "nothing to apply" in call("db", "migrate").out


def test_the_status_of_no_store_is_a_failure_and_makes_none(call, directory):
    missing = call("db", "status", "--json")
    assert (missing.code, missing.json["status"], missing.json["rows"]) == (1, "missing", {})
    assert not (directory / "market.db").exists()


def test_the_status_counts_rows(call):
    call("sensor", "poll", "counting")
    status = call("db", "status", "--json")
    assert (status.code, status.json["status"], status.json["pending"]) == (0, "up to date", [])
    assert (status.json["rows"]["evaluation"], status.json["rows"]["run"]) == (1, 1)
    assert "evaluation" in call("db", "status").out


def test_a_store_of_a_newer_release_is_told_and_refused(call, directory):
    call("db", "migrate")
    with Database.open(f"sqlite:///{directory}/market.db", exclusive=False) as database:
        newer = "insert into schema_version (number, name, checksum, applied_at) values (9000, 'later', '', '')"
        database.transact(lambda connection: connection.execute(newer))
    assert call("db", "status", "--json").json["status"] == "newer than this release"
    refused = call("db", "migrate", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "store_unavailable")


@pytest.fixture
def old(call, directory):
    """A store with a poll's evaluations of long ago."""
    for _poll in range(3):
        call("sensor", "poll", "counting")
    with Database.open(f"sqlite:///{directory}/market.db", exclusive=False) as database:
        for sql in (
            "update evaluation set at = '2020-01-01T00:00:00.000000Z'",
            "update run set status = 'failed', completed_at = '2020-01-01T00:00:00.000000Z' where partition <> 'p2'",
        ):
            database.transact(lambda connection, sql=sql: connection.execute(sql))


def test_old_history_goes_and_what_a_cursor_or_an_unfinished_run_needs_stays(call, old):
    dry = call("db", "prune", "--dry-run", "--json").json
    assert {what: count for what, count in dry["removed"].items() if count} == {"evaluations": 2, "runs": 2}
    assert call("db", "prune", "--json").json["removed"] == dry["removed"]
    assert len(call("sensor", "history", "counting", "--json").json) == 1
    assert [run["partition"] for run in call("runs", "list", "--json").json] == ["p2"]
    assert "evaluations" in call("db", "prune").out


@pytest.mark.parametrize(("place", "words"), [("file", ()), ("flag", ("--older-than", "30000d"))])
def test_how_long_is_kept_is_a_setting_or_a_flag(call, old, directory, place, words):
    if place == "file":
        (directory / "flowstone.toml").write_text('retention = "30000d"\n')
    assert call("db", "prune", *words, "--json").json["removed"]["evaluations"] == 0


@pytest.mark.parametrize(("age", "code", "said"), [("10m", 1, "an hour at least"), ("soon", 2, "expected a duration")])
def test_an_age_that_makes_no_sense_is_refused(call, age, code, said):
    call("db", "migrate")
    refused = call("db", "prune", "--older-than", age)
    assert (refused.code, said in refused.err) == (code, True)


def test_a_store_on_postgresql_is_migrated_looked_at_and_pruned(call, postgres_url):
    assert call("db", "migrate", "--json", store=postgres_url).json["status"] == "up to date"
    status = call("db", "status", "--json", store=postgres_url).json
    assert (status["kind"], status["rows"]["run"]) == ("postgresql", 0)
    assert call("db", "prune", "--json", store=postgres_url).json["removed"]["runs"] == 0
    assert os.path.exists("market.db") is False
