"""`flowstone asset` and `flowstone why`: what there is, making it, and why it is as it is."""

import json

import pytest


def test_assets_are_listed_in_order(call):
    rows = call("asset", "list", "--json").json
    assert [row["name"] for row in rows] == ["stall", "day"]
    assert rows[1]["partitions"] == "Daily(start='2025-01-01')"
    assert "stall" in call("asset", "list").out


def test_an_asset_is_made_in_the_commands_own_process(call):
    made = call("asset", "materialize", "day", "--partition", "2025-01-15", "--json")
    assert (made.code, made.json["status"], made.json["partition"]) == (0, "success", "2025-01-15")
    assert call("runs", "list", "--json").json[0]["run_id"] == made.json["run_id"]
    answer = call("asset", "why", "day", "--partition", "2025-01-15", "--json").json
    assert (answer["kind"], answer["stale"]) == ("asset", False)
    assert made.json["run_id"] in call("why", made.json["run_id"]).out
    assert "stale" in call("asset", "why", "day", "--partition", "2025-01-16").out


def test_a_key_of_ones_own_asks_for_one_run(call):
    runs = {call("asset", "materialize", "stall", "--run-key", "mine", "--json").json["run_id"] for _ in range(2)}
    assert len(runs) == 1


def test_making_fails_as_the_run_fails(call, flowstone):
    refused = call("asset", "materialize", "day", "--partition", "2024-01-01", "--json")
    assert (refused.code, refused.json["error"]["type"]) == (1, "partition_error")
    unknown = call("asset", "materialize", "dya", "--json")
    assert (unknown.code, "did you mean 'day'" in unknown.json["error"]["message"]) == (1, True)
    failed = flowstone("--app", "shop:shop", "asset", "materialize", "total", "--json")
    assert (failed.returncode, json.loads(failed.stdout)["error"]["type"]) == (1, "dependency_not_ready")


def test_the_service_makes_what_is_asked_for(service, call):
    made = call("asset", "materialize", "day", "--partition", "2025-01-15", "--json")
    assert (made.code, made.json["status"]) == (0, "success")
    assert call("db", "status", "--json").json["nodes"][0]["pid"] == service.pid


def test_lineage_and_the_graph_are_shown(call):
    call("asset", "materialize", "total", "--upstream", app="shop:shop", store="sqlite:///shop.db")
    shop = {"app": "shop:shop", "store": "sqlite:///shop.db"}
    assert call("asset", "lineage", "total", "--json", **shop).json == [
        {"asset": "orders", "partition": None, "depth": 1}
    ]
    downstream = call("asset", "lineage", "orders", "--direction", "impact", "--depth", "1", "--json", **shop).json
    assert [node["asset"] for node in downstream] == ["total"]
    graph = call("asset", "graph", "--status", "--json", **shop).json
    assert graph[1] == {"name": "total", "depends_on": ["orders"], "status": "fresh"}
    assert "total" in call("asset", "graph", **shop).out


@pytest.mark.parametrize(("drawing", "begin"), [("text", "orders"), ("mermaid", "flowchart LR"), ("svg", "<svg ")])
def test_the_graph_is_drawn_in_each_form(call, directory, drawing, begin):
    words = ("asset", "graph", "+total", "--format", drawing)
    drawn = call(*words, app="shop:shop")
    assert drawn.out.startswith(begin)
    call(*words, "--output", "graph.out", app="shop:shop")
    assert (directory / "graph.out").read_text() == drawn.out
    (directory / "graph.out").unlink()
    assert call(*words, "--output", "graph.out", "--json", app="shop:shop").json[1]["name"] == "total"
    assert (directory / "graph.out").read_text() == drawn.out


def test_why_of_what_is_not_there_is_an_error(call):
    call("asset", "materialize", "stall")
    assert call("why", "run_none", "--json").json["error"]["type"] == "validation_error"
    assert call("asset", "why", "stale").code == 1
