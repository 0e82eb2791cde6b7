"""The rules that hold for every command: exit codes, where errors go, suggestions, JSON."""

import json

import pytest


def test_the_version_is_that_of_the_package(flowstone):
    ran = flowstone("--version")
    assert (ran.returncode, "0.1.0" in ran.stdout) == (0, True)


def test_help_names_every_command(flowstone):
    ran = flowstone("--help")
    assert ran.returncode == 0
    assert [name for name in ("check", "demo", "run", "tree") if name not in ran.stdout] == []


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [(["chekc"], "check"), (["--ap", "shop:shop", "check"], "--app"), (["check", "--jsn"], "--json")],
)
def test_a_mistyped_word_is_bad_usage_with_a_suggestion(flowstone, words, suggestion):
    ran = flowstone(*words)
    assert ran.returncode == 2
    assert suggestion in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_bad_usage_is_a_document_too_when_asked_for(flowstone):
    ran = flowstone("--json", "chekc")
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["error"]["type"] == "usage_error"


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (None, "--app"),
        ("shop", "MODULE:PIPELINE"),
        ("shpo:shop", "shpo"),
        ("shop:shp", "did you mean 'shop'"),
        ("shop:number", "int"),
        ("exploding:shop", "ZeroDivisionError"),
    ],
)
def test_an_app_that_is_none_is_one_clear_error(flowstone, directory, app, said):
    (directory / "exploding.py").write_text("1 / 0\n")
    ran = flowstone(*(["--app", app] if app else []), "check")
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_an_error_is_a_document_with_its_type_when_asked_for(flowstone):
    ran = flowstone("--app", "shop:shp", "--json", "check")
    error = json.loads(ran.stdout)["error"]
    assert (ran.returncode, error["type"]) == (1, "config_error")
    assert error["message"] in ran.stderr.replace("\n", " ")


def test_shared_options_go_before_or_after_the_command(flowstone):
    before = flowstone("--app", "shop:shop", "--json", "check")
    after = flowstone("check", "--app", "shop:shop", "--json")
    assert before.returncode == after.returncode == 0
    assert before.stdout == after.stdout


def test_the_environment_names_the_app(flowstone, environment):
    environment["FLOWSTONE_APP"] = "shop:shop"
    assert flowstone("check").returncode == 0


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import sys\nsys.exit()", "def ("])
def test_a_module_that_ends_while_it_is_imported_is_one_clear_error(flowstone, directory, text):
    (directory / "ends.py").write_text(text, "utf-8")
    ran = flowstone("--app", "ends:shop", "check", "--json")
    error = json.loads(ran.stdout)["error"]
    assert (ran.returncode, error["type"]) == (1, "config_error")
    assert "module 'ends' can't be imported: S" in error["message"]
    assert "Traceback" not in ran.stderr
