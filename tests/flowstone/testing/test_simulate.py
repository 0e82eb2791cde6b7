"""Simulation: what holds over many seeds, that a seed is a world, and that broken rules are found."""

import dataclasses
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from flowstone.errors import ValidationError
from flowstone.pipeline import Pipeline
from flowstone.runs import leases
from flowstone.schedules import ticks
from flowstone.sensors import recording, store
from flowstone.state import migrate
from flowstone.testing import Faults, Feed, PushedFeed, simulate
from flowstone.testing.simulate import simulation
from flowstone.testing.simulate.__main__ import main
from flowstone.testing.simulate.graphs import graph
from flowstone.testing.simulate.shop import shop

SEEDS = 120
GRAPHS = 30
SHARE = 5
HARD = Faults(
    raising=0.08, hanging=0.06, slow=0.1, crashes=0.02, refused=0.05, lost=0.05, late=1.0,
    jumps=0.5, deaths=3.0, meddling=4.0, deciding=4.0,
)  # fmt: skip
BUSY = Faults(deaths=1.0, crashes=0.01, lost=0.03, refused=0.03, deciding=3.0, raising=0.1)
PROGRAM = """
from flowstone.testing import simulate
from flowstone.testing.simulate.shop import shop
print(simulate(shop(), days=12, seed=7).digest)
"""


@pytest.fixture(autouse=True)
def unmeasured() -> Iterator[None]:
    """A tracer, as coverage has one, makes a simulated month three times as long."""
    tracer, of_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    yield
    sys.settrace(tracer)
    threading.settrace(of_threads)


@pytest.mark.property
@pytest.mark.parametrize("first", range(1, SEEDS + 1, SHARE))
def test_nothing_is_violated_in_a_month_of_any_seed(first: int) -> None:
    for seed in range(first, first + SHARE):
        simulate(shop(), days=30, seed=seed).check()


@pytest.mark.property
def test_nothing_is_violated_where_much_goes_wrong() -> None:
    for seed in range(1, 9):
        simulate(shop(), days=10, seed=seed, faults=HARD).check()


@pytest.mark.property
@pytest.mark.parametrize(
    "often",
    [
        {"lost": 0.3},
        {"refused": 0.3},
        {"crashes": 0.08},
        {"deaths": 12.0, "late": 1.0},
        {"hanging": 0.3, "refused": 0.2},
        {"crashes": 0.05, "lost": 0.2},
        {"meddling": 24.0, "slow": 0.5},
        {"deciding": 24.0, "lost": 0.1},
        {"jumps": 12.0, "deaths": 4.0},
    ],
    ids=" ".join,
)
def test_nothing_is_violated_where_a_few_things_go_wrong_very_often(often: dict[str, float]) -> None:
    for seed in range(1, 5):
        simulate(shop(), days=8, seed=seed, faults=dataclasses.replace(Faults.none(), **often)).check()


@pytest.mark.property
@pytest.mark.parametrize("first", range(1, GRAPHS + 1, SHARE))
def test_nothing_is_violated_in_random_graphs(first: int) -> None:
    for seed in range(first, first + SHARE):
        simulate(graph(seed), days=8, seed=seed, faults=BUSY).check()


@pytest.mark.property
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_seed_gives_the_same_log_on_both_databases(seed: int, postgres_url: str) -> None:
    worlds: list[tuple[Callable[[], Pipeline], dict[str, Any]]]
    worlds = [(shop, {"days": 6, "faults": HARD}), (partial(graph, seed), {"days": 4, "faults": BUSY})]
    for make, options in worlds:
        in_memory, on_postgres = (
            simulate(make(), seed=seed, store=store, **options) for store in ("memory://", postgres_url)
        )
        on_postgres.check()
        assert on_postgres.log == in_memory.log
        assert on_postgres.counts == in_memory.counts


def test_nothing_is_left_of_a_world_on_postgresql(
    postgres_server: Any, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def schemas() -> set[str]:
        return {name for (name,) in postgres_server.run("select nspname from pg_namespace")}

    def lose_heart(*_given: object) -> None:
        raise LookupError(max(schemas() - before))

    before = schemas()
    simulate(shop(), days=1, store=postgres_url).check()
    assert schemas() == before
    monkeypatch.setattr(simulation, "check_ticks", lose_heart)
    with pytest.raises(LookupError, match="flowstone_simulated_"):
        simulate(shop(), days=1, store=postgres_url)
    assert schemas() == before


def test_a_seed_gives_the_same_log_in_processes_that_hash_otherwise() -> None:
    digests = set()
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=50
        )
        digests.add(ran.stdout)
    assert len(digests) == 1


def test_a_seed_gives_the_same_log_again_and_another_seed_another_one() -> None:
    one, again, other = (simulate(shop(), days=5, seed=seed) for seed in (1, 1, 2))
    assert one.log == again.log
    assert one.log != other.log


def test_without_faults_everything_is_done_once() -> None:
    result = simulate(shop(), days=10, faults=Faults.none())
    result.check()
    assert result.fired == ()
    assert result.counts["life entries"] == 1
    assert "raise entries" not in result.counts
    assert result.counts["run rows"] > 20


def test_each_kind_of_fault_happens() -> None:
    result = simulate(shop(), days=10, faults=HARD)
    assert {name.partition("#")[0] for name in result.fired} == set(Faults.kinds())


def test_a_simulation_needs_no_thread_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.enumerate()
    simulate(shop(), days=3, faults=HARD)
    assert threading.enumerate() == before


def test_the_runtime_logs_nothing_while_it_is_simulated(caplog: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger("actors").level
    simulate(shop(), days=3, faults=HARD)
    assert caplog.records == []
    assert logging.getLogger("actors").level == level


# -- rules that are broken on purpose


def forget_what_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowstone.running.recover", lambda *_args, **_options: ())


def fence_nobody_off(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = "r.status = 'running' and r.boot = :boot and r.fence = :fence"
    assert compared in leases._UNDER_LEASE
    blind = leases._UNDER_LEASE.replace(compared, ":boot = :boot and :fence = :fence")
    monkeypatch.setattr(leases, "_UNDER_LEASE", blind)


def write_ticks_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = " and version = :version and accounted_until = :since"
    assert compared in ticks._MOVE
    monkeypatch.setattr(ticks, "_MOVE", ticks._MOVE.replace(compared, ""))
    for name in [name for name, text in vars(ticks).items() if isinstance(text, str) and "on conflict" in text]:
        text = vars(ticks)[name]
        monkeypatch.setattr(ticks, name, re.sub(r"on conflict \(tick_id\) do nothing", "", text))
    allow_twice(monkeypatch, "tick_tick_id")


def move_cursors_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = " and state_version = :expected"
    assert compared in store._ADVANCE
    monkeypatch.setattr(store, "_ADVANCE", store._ADVANCE.replace(compared, ""))


def forget_arrivals(monkeypatch: pytest.MonkeyPatch) -> None:
    known = "on conflict (sensor, key) do nothing"
    assert known in recording._ARRIVE
    anew = "on conflict (sensor, key) do update set at = :now"
    monkeypatch.setattr(recording, "_ARRIVE", recording._ARRIVE.replace(known, anew))


def allow_twice(monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    steps = tuple(
        dataclasses.replace(step, script=step.script.replace(f"create unique index {index} ", f"create index {index} "))
        for step in migrate.migrations()
    )
    monkeypatch.setattr(migrate, "migrations", lambda: steps)


@pytest.mark.parametrize(
    ("break_it", "rule"),
    [
        (forget_what_ran, "no row is left between states"),
        (fence_nobody_off, "each run has one success|never go on at once|recorded interrupted or failed"),
        (write_ticks_blindly, "each due instant is accounted for exactly once"),
        (move_cursors_blindly, "the cursor is what its history says"),
        (forget_arrivals, "each item of a source has one run"),
    ],
)
def test_a_rule_that_is_broken_on_purpose_is_found(
    break_it: Callable[[pytest.MonkeyPatch], None], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    for seed in range(1, 41):
        result = simulate(shop(), days=8, seed=seed, faults=HARD, shorten=False)
        if any(re.search(rule, violation.rule) for violation in result.violations):
            return
    raise AssertionError("no seed found it")


def test_a_violation_is_told_with_its_seed_and_a_shorter_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_what_ran(monkeypatch)
    seeds = (simulate(shop(), days=10, seed=seed, faults=HARD) for seed in range(1, 20))
    result = next(result for result in seeds if result.violations)
    least = result.shortest
    assert least is not None
    assert least.violations
    assert least.days < result.days
    assert len(least.fired) < len(result.fired)
    told = f"seed {result.seed}: .*violations(.|\n)*shortest trace(.|\n)*is (killed|gone)"
    with pytest.raises(AssertionError, match=told):
        result.check()


# -- what is given


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"days": 0}, "expected days to be a number above 0"),
        ({"days": True}, "expected days to be a number above 0"),
        ({"start": "2025-01-01"}, "expected start to be an aware datetime"),
        ({"store": "sqlite:///world.db"}, "expected store to be memory:// or a postgresql:// URL"),
        ({"store": None}, "expected store to be memory:// or a postgresql:// URL"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        simulate(shop(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rates", "problem"),
    [
        ({"raising": 2}, "expected raising to be a share from 0 to 1"),
        ({"deaths": -1}, "expected deaths to be a number a day"),
        ({"crash": 0.1}, "did you mean 'crashes'"),
    ],
)
def test_bad_rates_are_refused(rates: dict[str, float], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Faults(**rates)


@pytest.mark.parametrize("make", [lambda: Feed(a_day=-1), lambda: PushedFeed(a_day=-1), lambda: Feed(looks_back=-1)])
def test_bad_feeds_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError, match="expected"):
        make()


def test_what_is_no_pipeline_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected pipelines"):
        simulate("shop")  # type: ignore[arg-type]


def test_definitions_that_do_not_fit_are_refused() -> None:
    pipeline = Pipeline("unfit")
    pipeline.schedule("daily", target="nothing", cron="@daily")
    with pytest.raises(ValidationError, match="nothing"):
        simulate(pipeline, days=1)


def test_user_code_that_always_fails_is_no_violation() -> None:
    pipeline = Pipeline("failing")

    @pipeline.asset
    def broken(context):
        raise KeyError("no such thing")

    pipeline.schedule("daily", target="broken", cron="@daily")
    result = simulate(pipeline, days=5, faults=Faults.none())
    result.check()
    assert result.counts["run rows"] == 5


def test_the_command_tells_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--days", "2"]) == 0
    assert capsys.readouterr().out == "2 seeds of 2 days: none violated what must hold\n"


def test_the_command_tells_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_what_ran(monkeypatch)
    assert main(["--seeds", "1", "--days", "4", "--fault", "deaths=12"]) == 1
    out = capsys.readouterr().out
    assert "again: python -m flowstone.testing.simulate --seed" in out
    assert "--fault deaths=12" in out


def test_the_command_takes_a_pipeline_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flowstone.testing.simulate.shop:shop", "--seeds", "1", "--days", "1", "--log"]) == 0
    assert "process 1 starts" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nowhere:shop"], ["flowstone.testing.simulate.shop"], ["--fault", "raising"]])
def test_the_command_refuses_what_it_can_not_read(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--seeds", "1"]) == 2
    assert "error: expected" in capsys.readouterr().err
