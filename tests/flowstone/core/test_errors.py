"""The error tree of semantics 16, durations and outcomes."""

import copy
import pickle

import pytest

import flowstone.errors as errors
from flowstone.errors import (
    AssetNotFound,
    CycleError,
    FlowstoneError,
    IOManagerError,
    ValidationError,
    shown,
    storable,
    text_of,
)

NAMES = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("IOManagerError", "io_manager_error"),
        ("FlowstoneError", "flowstone_error"),
        ("StoreLocked", "store_locked"),
        ("RunKeyConflict", "run_key_conflict"),
        ("CronError", "cron_error"),
    ],
)
def test_a_type_is_the_name_in_snake_case_with_a_run_of_capitals_as_one_word(name: str, text: str) -> None:
    assert getattr(errors, name)("x").type == text


@pytest.mark.parametrize("name", ["CronError", "PartitionError", "ConfigError", "CycleError"])
def test_wrong_definitions_are_validation_errors(name: str) -> None:
    assert issubclass(getattr(errors, name), ValidationError)


@pytest.mark.parametrize("name", NAMES)
def test_every_error_belongs_to_the_tree_and_survives_pickling_and_copying(name: str) -> None:
    error = getattr(errors, name)("what was wrong", retryable=True, asset="raw")
    assert isinstance(error, FlowstoneError)
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(copied), str(copied), copied.context, copied.retryable) == (
            type(error), "what was wrong", {"asset": "raw"}, True,
        )


def test_retryable_is_the_class_s_unless_the_error_says_otherwise() -> None:
    assert IOManagerError("x").retryable
    assert not IOManagerError("x", retryable=False).retryable
    assert not ValidationError("x").retryable
    assert not ValidationError.retryable


def test_an_error_about_an_unknown_name_suggests_the_nearest() -> None:
    assert "did you mean 'daily_report'?" in str(AssetNotFound.named("daily_reprot", ["raw", "daily_report"]))
    assert "did you mean" not in str(AssetNotFound.named("zzz", ["raw"]))


def test_a_cycle_shows_its_path() -> None:
    error = CycleError.along(["a", "b", "a"])
    assert error.path == ("a", "b", "a")
    assert "a -> b -> a" in str(error)


def test_a_summary_holds_the_problems_it_sums_up() -> None:
    problems = [AssetNotFound("x"), CycleError("y")]
    assert ValidationError("2 problems", problems=problems).problems == tuple(problems)
    assert ValidationError("x").problems == ()


def test_any_value_can_be_shown_in_a_message() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown(Rude()) == "<Rude>"
    assert shown(10**5000) == "<int>"
    assert len(shown("x" * 1000)) == 80


def test_any_text_can_be_made_one_that_a_store_holds_and_any_error_has_one() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert storable("caf\u00e9 \u65e5") == "caf\u00e9 \u65e5"
    assert storable("\ud800\0") == r"\ud800\x00"
    assert text_of(Rude("x")) == "Rude('x')"
    assert text_of(ValueError("x")) == "x"
