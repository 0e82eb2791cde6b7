"""Configuration: which place wins, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowstone.config import NAMES, Config, load, unknown_variables
from flowstone.errors import ConfigError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def test_a_flag_wins_over_the_environment_over_a_file_over_the_default(directory: Path) -> None:
    (directory / "flowstone.toml").write_text('store = "file"\nnamespace = "file"\nbackend = "threads"\n')
    config = load(
        {"store": "flag", "app": None},
        environment={"FLOWSTONE_STORE": "variable", "FLOWSTONE_NAMESPACE": "variable"},
        directory=directory,
    )
    assert (config.store, config.namespace, config.backend, config.max_queue) == ("flag", "variable", "threads", 10_000)
    sources = [config.source(name) for name in ("store", "namespace", "backend", "max_queue")]
    assert sources == ["--store", "FLOWSTONE_NAMESPACE", "flowstone.toml", "default"]


def test_the_projects_file_is_read_where_there_is_no_other(directory: Path) -> None:
    (directory / "pyproject.toml").write_text('[tool.flowstone]\nnamespace = "project"\n[tool.other]\nx = 1\n')
    config = load(environment={}, directory=directory)
    assert (config.namespace, config.source("namespace")) == ("project", "pyproject.toml [tool.flowstone]")
    (directory / "flowstone.toml").write_text('store = "own"\n')
    assert load(environment={}, directory=directory).namespace == "default"


@pytest.mark.parametrize("text", ["", '[project]\nname = "x"\n'])
def test_a_project_without_the_table_says_nothing(directory: Path, text: str) -> None:
    (directory / "pyproject.toml").write_text(text)
    assert load(environment={}, directory=directory) == Config()


def test_an_empty_variable_says_nothing(directory: Path) -> None:
    assert load(environment={"FLOWSTONE_STORE": ""}, directory=directory) == Config()


def test_texts_are_read_as_what_they_stand_for(directory: Path) -> None:
    names = {"FLOWSTONE_MAX_QUEUE": "5", "FLOWSTONE_SCHEDULER": "off", "FLOWSTONE_RETENTION": "12h"}
    config = load(environment=names, directory=directory)
    assert (config.max_queue, config.scheduler, config.retention) == (5, False, 43_200.0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_queue", "many", "an int of at least 1"),
        ("max_concurrency", "0", "an int of at least 1"),
        ("backend", "gevent", "one of auto, greenlets, threads"),
        ("sensors", "perhaps", "true or false"),
        ("retention", "long", "a duration"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(directory: Path, name: str, value: str, said: str) -> None:
    variable = f"FLOWSTONE_{name.upper()}"
    with pytest.raises(ConfigError, match=f"{variable}: expected {name} to be {said}"):
        load(environment={variable: value}, directory=directory)


@pytest.mark.parametrize("value", ["true", "1.5", "-1", "[]"])
def test_a_wrong_type_in_a_file_is_refused(directory: Path, value: str) -> None:
    (directory / "flowstone.toml").write_text(f"max_queue = {value}\n")
    with pytest.raises(ConfigError, match="flowstone.toml: expected max_queue"):
        load(environment={}, directory=directory)


def test_an_unknown_key_of_a_file_is_refused_with_a_suggestion(directory: Path) -> None:
    (directory / "flowstone.toml").write_text("max_que = 3\n")
    with pytest.raises(ConfigError, match="'max_que' is no setting; did you mean 'max_queue'"):
        load(environment={}, directory=directory)


@pytest.mark.parametrize("text", ["store = ", "\udcff"])
def test_a_file_that_is_no_toml_is_one_clear_error(directory: Path, text: str) -> None:
    (directory / "flowstone.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="flowstone.toml can't be read"):
        load(environment={}, directory=directory)


def test_a_table_that_is_none_is_refused(directory: Path) -> None:
    (directory / "pyproject.toml").write_text("[tool]\nflowstone = 3\n")
    with pytest.raises(ConfigError, match="expected a table"):
        load(environment={}, directory=directory)


def test_secrets_are_masked_where_they_are_shown() -> None:
    config = Config(secret="hunter2", store="postgresql://ada:hunter2@host/db?password=hunter2")
    assert [name for name in NAMES if "hunter2" in str(config.shown(name))] == []
    assert config.shown("store") == "postgresql://ada:***@host/db?password=***"
    assert Config().shown("secret") == ""


def test_a_secret_is_in_no_error(directory: Path) -> None:
    (directory / "flowstone.toml").write_text("secret = 9876543210\n")
    with pytest.raises(ConfigError) as refused:
        load(environment={}, directory=directory)
    assert "9876543210" not in str(refused.value)


def test_variables_that_read_like_a_setting_are_told() -> None:
    assert unknown_variables({"FLOWSTONE_MAX_QUEU": "1", "FLOWSTONE_APP": "x", "FLOWSTONE_ZZ": "1", "PATH": ""}) == (
        "FLOWSTONE_MAX_QUEU is no setting; did you mean 'FLOWSTONE_MAX_QUEUE'?",
    )
