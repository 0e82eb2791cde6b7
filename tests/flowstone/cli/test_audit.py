"""`flowstone audit list`: who did what to what, filtered and paged."""


def test_rows_are_newest_first_and_filtered(call):
    call("schedule", "pause", "daily", "--by", "ada")
    call("sensor", "pause", "counting", "--by", "bob")
    rows = call("audit", "list", "--json").json
    assert [(row["event_type"], row["actor"]) for row in rows[:2]] == [
        ("sensor.paused", "bob"),
        ("schedule.paused", "ada"),
    ]
    assert set(rows[0]) == {"id", "event_type", "actor", "resource", "details", "at"}
    for filters in (("--actor", "ada"), ("--event-type", "schedule.paused"), ("--resource", "schedule:daily")):
        assert call("audit", "list", *filters, "--limit", "1", "--json").json[0]["actor"] in ("ada", "code")
    assert call("audit", "list", "--since", "2999-01-01T00:00:00Z", "--json").json == []


def test_a_page_says_how_to_go_on(call):
    call("schedule", "list")
    page = call("audit", "list", "--limit", "1", "--json")
    assert page.err.startswith("there is more: --cursor ")
    following = call("audit", "list", "--limit", "1", "--cursor", page.err.split()[-1], "--json").json
    assert following[0]["id"] < page.json[0]["id"]
