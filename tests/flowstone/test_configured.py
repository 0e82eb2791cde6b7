"""Runtimes and clients heed the environment and the files for what they are not told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flowstone as fs
import pytest
from flowstone.config import FOREVER, chosen
from flowstone.errors import ConfigError, ValidationError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which says nothing yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shop() -> fs.Pipeline:
    made = fs.Pipeline("shop")
    made.asset(lambda context: 1, name="raw")
    return made


def test_what_is_given_wins_over_the_environment_over_a_file_over_the_default(
    directory: Path, monkeypatch: pytest.MonkeyPatch, shop: fs.Pipeline
) -> None:
    text = 'store = "memory://"\nnamespace = "file"\nsecret = "s"\nscheduler = false\n'
    (directory / "flowstone.toml").write_text(text)
    monkeypatch.setenv("FLOWSTONE_NAMESPACE", "variable")
    monkeypatch.setenv("FLOWSTONE_MAX_QUEUE", "7")
    monkeypatch.setenv("FLOWSTONE_RETENTION", "2h")
    settings = fs.Runtime(shop).settings
    assert (settings.url, settings.max_queue, settings.max_concurrency) == ("memory://", 7, 32)
    assert (settings.identity.namespace, settings.identity.secret) == ("variable", "s")
    assert (settings.scheduler, settings.sensors, settings.backend, settings.retention) == (False, True, "auto", 7200.0)
    told = fs.Runtime(shop, namespace="own", secret="", scheduler=True, max_queue=9, retention="forever").settings
    assert (told.identity.namespace, told.identity.secret) == ("own", "")
    assert (told.scheduler, told.max_queue, told.retention) == (True, 9, FOREVER)


def test_a_runtime_and_its_client_agree_on_the_ids_of_runs(
    directory: Path, monkeypatch: pytest.MonkeyPatch, shop: fs.Pipeline
) -> None:
    (directory / "pyproject.toml").write_text('[tool.flowstone]\nnamespace = "prod"\nstore = "sqlite:///shop.db"\n')
    monkeypatch.setenv("FLOWSTONE_SECRET", "hidden")
    expected = fs.run_id("key", namespace="prod", secret="hidden")
    with fs.Runtime(shop) as runtime:
        assert runtime.materialize("raw", run_key="key").run_id == expected
    assert (directory / "shop.db").exists()
    with fs.Client(shop) as client:
        assert client.runs.get(expected).status == "success"
        assert client.materialize_async("raw", run_key="key").run_id == expected


def test_wrong_settings_name_their_place(directory: Path, monkeypatch: pytest.MonkeyPatch, shop: fs.Pipeline) -> None:
    monkeypatch.setenv("FLOWSTONE_MAX_QUEUE", "many")
    with pytest.raises(ConfigError, match="FLOWSTONE_MAX_QUEUE: expected max_queue to be an int"):
        fs.Runtime(shop)
    monkeypatch.delenv("FLOWSTONE_MAX_QUEUE")
    (directory / "flowstone.toml").write_text('stroe = "memory://"\n')
    with pytest.raises(ConfigError, match="did you mean 'store'"):
        fs.Client(shop)


def test_nothing_is_read_when_all_is_given(directory: Path) -> None:
    (directory / "flowstone.toml").write_text("no toml")
    assert chosen(store="memory://", secret="") == {"store": "memory://", "secret": ""}


@pytest.mark.parametrize(("value", "said"), [("59m", "an hour at least, got: 59m"), ("soon", "expected retention")])
def test_a_retention_that_makes_no_sense_is_refused(shop: fs.Pipeline, value: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        fs.Runtime(shop, store="memory://", retention=value)


def test_a_runtime_prunes_its_history_by_itself(
    tmp_path: Path, flowstone_runtime: Callable[..., fs.Runtime], flowstone_clock: Any, shop: fs.Pipeline
) -> None:
    shop.schedule("daily", cron="0 0 * * *", target="raw", partition=lambda instant: None)
    runtime = flowstone_runtime(shop, store=f"sqlite:///{tmp_path}/shop.db", retention="3d")
    for _day in range(8):
        flowstone_clock.advance(86_400)
        runtime.drain(timeout=20)
    ticks = [tick.scheduled_for.day for tick in runtime.schedules.history("daily")]
    assert ticks == [23, 22, 21, 20], "three days, and what came since the last pruning"
    assert runtime.materializations.list(asset="raw")[-1].status == "success"


@pytest.mark.parametrize("options", [{"store": "memory://", "retention": "1h"}, {"retention": "forever"}])
def test_a_store_that_nobody_keeps_and_one_that_is_kept_for_ever_are_not_pruned(
    tmp_path: Path, flowstone_runtime: Callable[..., fs.Runtime], shop: fs.Pipeline, options: dict[str, str]
) -> None:
    runtime = flowstone_runtime(shop, **{"store": f"sqlite:///{tmp_path}/shop.db", **options})
    assert "pruner" not in str(runtime.tree())


def test_a_pruning_that_fails_is_tried_again_the_next_day(
    tmp_path: Path,
    flowstone_runtime: Callable[..., fs.Runtime],
    flowstone_clock: Any,
    shop: fs.Pipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    def failing(*arguments: Any) -> dict[str, int]:
        tries.append(1)
        raise OSError("no disk")

    monkeypatch.setattr("flowstone.pruning.prune", failing)
    flowstone_runtime(shop, store=f"sqlite:///{tmp_path}/shop.db", retention="3d")
    for _day in range(3):
        flowstone_clock.advance(86_400)
    assert len(tries) == 3
