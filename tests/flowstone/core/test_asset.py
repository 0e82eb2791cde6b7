"""Assets as values: dependencies by parameter and by list, policies, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flowstone as fs
import pytest


def test_parameters_after_the_context_are_the_dependencies() -> None:
    asset = fs.Asset(lambda context, raw, prices: (raw, prices), name="report")
    assert asset.depends_on == ("raw", "prices")
    assert asset.call(None, {"raw": 1, "prices": 2}) == (1, 2)


def test_a_parameter_with_a_default_is_no_dependency() -> None:
    assert fs.Asset(lambda context, raw, limit=5: limit, name="report").depends_on == ("raw",)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda context, deps: deps, {"raw": 1, "prices": 2}),
        (lambda context, prices, raw: (raw, prices), (1, 2)),
        (lambda context, **given: given, {"raw": 1, "prices": 2}),
        (lambda context: "nothing", "nothing"),
    ],
    ids=["mapping", "names", "keywords", "order only"],
)
def test_listed_dependencies_come_as_the_function_takes_them(fn: Callable[..., Any], expected: Any) -> None:
    asset = fs.Asset(fn, name="report", depends_on=["raw", "prices"])
    assert asset.depends_on == ("raw", "prices")
    assert asset.call(None, {"raw": 1, "prices": 2}) == expected


def test_an_empty_list_means_no_dependencies() -> None:
    asset = fs.Asset(lambda context, deps: deps, name="report", depends_on=[])
    assert asset.depends_on == ()
    assert asset.call(None, {}) == {}


def test_the_docstring_is_the_description_and_the_function_stays_callable() -> None:
    def raw(context: Any) -> int:
        """Raw events of one day."""
        return 7

    asset = fs.Asset(raw)
    assert (asset.name, asset.description, asset(None)) == ("raw", "Raw events of one day.", 7)


def test_a_definition_knows_its_place() -> None:
    assert fs.Asset(lambda context: 1, name="raw").location.startswith(f"{__file__}:")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": fs.Daily()}, "did you mean 'partitions'"),
        ({"dependson": []}, "depends_on"),
        ({"name": "two words"}, "name"),
        ({"name": ""}, "name"),
        ({"depends_on": "raw"}, "list of asset names"),
        ({"depends_on": ["a b"]}, "name"),
        ({"partitions": fs.Daily}, "partition set"),
        ({"partitions": ["eu"]}, "partition set"),
        ({"retry": 3}, "RetryPolicy"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"io_manager": 5}, "io_manager"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {"team": 5}}, "tags"),
        ({"priority": "high"}, "priority"),
        ({"priority": True}, "priority"),
        ({"description": 5}, "description"),
        ({"code_version": 5}, "code_version"),
        ({"requires": "warehouse"}, "requires of asset 'report' to be a list of resource names"),
        ({"requires": [5]}, "resource name"),
        ({"require": []}, "did you mean 'requires'"),
        ({"process": 1}, "process of asset 'report' to be True or False"),
        ({"process": True}, "it is a lambda"),
        ({"pool": "two words"}, "pool name"),
        ({"pool": 5}, "pool name"),
        ({"concurrency": 0}, "concurrency of asset 'report' to be an int of at least 1"),
        ({"concurrency": True}, "concurrency"),
    ],
)
def test_a_bad_option_is_refused_where_it_is_given(options: dict[str, Any], message: str) -> None:
    with pytest.raises(fs.ValidationError, match=message):
        fs.Asset(lambda context, raw: None, **{"name": "report", **options})


@pytest.mark.parametrize("fn", [lambda: None, lambda **deps: None, lambda *, context: None])
def test_a_function_without_a_context_is_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(fs.ValidationError, match="context"):
        fs.Asset(fn, name="report")


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(fs.ValidationError, match="function"):
        fs.Asset(5)  # type: ignore[arg-type]
    with pytest.raises(fs.ValidationError, match="signature"):
        fs.Asset(dict, name="odd")


def test_parameters_that_fit_no_list_are_refused() -> None:
    with pytest.raises(fs.ValidationError, match="context, deps"):
        fs.Asset(lambda context, a, b: None, name="report", depends_on=["raw", "prices"])


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"base": -1},
        {"factor": 0.5},
        {"factor": float("inf")},
        {"factor": 1e300},
        {"cap": "never"},
        {"on": "ValueError"},
        {"on": (5,)},
    ],
)
def test_a_bad_retry_policy_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(fs.ValidationError):
        fs.RetryPolicy(**options)


def test_the_delay_grows_to_its_cap_and_never_overflows() -> None:
    policy = fs.RetryPolicy()
    assert [policy.delay(attempt) for attempt in (1, 2, 3, 4, 5)] == [10.0, 30.0, 90.0, 270.0, 300.0]
    assert policy.delay(10_000) == 300.0


def make_in_a_module(context: Any) -> int:
    """An asset that any process can import."""
    return 1


def test_where_an_asset_runs_and_what_it_needs_is_declared() -> None:
    options = {"requires": ["warehouse", "mail", "warehouse"], "process": True, "pool": "gpu", "concurrency": 2}
    asset = fs.Asset(make_in_a_module, **options)
    assert (asset.requires, asset.process, asset.pool, asset.concurrency) == (("warehouse", "mail"), True, "gpu", 2)


def test_by_default_an_asset_needs_nothing_and_runs_in_a_thread() -> None:
    asset = fs.Asset(make_in_a_module)
    assert (asset.requires, asset.process, asset.pool, asset.concurrency) == ((), False, None, None)


def test_a_function_inside_a_function_can_not_run_in_a_process() -> None:
    def nested(context: Any) -> int:
        return 1

    with pytest.raises(fs.ValidationError, match="defined inside a function .*define it at the top of a module"):
        fs.Asset(nested, process=True)
