"""`flowstone check`: the whole pipeline, every problem at once, nothing started."""

import json


def test_a_pipeline_without_a_problem_is_counted(flowstone, directory):
    ran = flowstone("--app", "shop:shop", "check", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == {"pipeline": "shop", "assets": 2, "schedules": 1, "sensors": 1}
    assert list(directory.glob("*.db")) == []


def test_every_problem_is_named_with_its_place(flowstone):
    ran = flowstone("--app", "shop:broken", "check")
    assert ran.returncode == 1
    assert "totl" in ran.stderr
    assert "reprot" in ran.stderr
    assert "did you mean 'report'" in ran.stderr
    assert "shop.py:" in ran.stderr


def test_problems_are_typed_in_json(flowstone):
    ran = flowstone("--app", "shop:broken", "--json", "check")
    error = json.loads(ran.stdout)["error"]
    assert error["type"] == "validation_error"
    assert [problem["type"] for problem in error["problems"]] == ["asset_not_found", "asset_not_found"]
