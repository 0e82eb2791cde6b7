"""The pure rules: who restarts, with whom, when it is too much, how long to pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Backoff, Quarantine, SpecError
from actors.errors import ActorDeadError, ActorError, AskTimeout
from actors.intensity import Intensity
from actors.messages import Shutdown, is_normal
from actors.spec import AutoShutdown, Restart, Strategy
from actors.strategies import affected, shuts_down, will_restart

ids = st.lists(st.text("abcdef", min_size=1, max_size=2), min_size=1, max_size=6, unique=True)


@pytest.mark.property
@given(ids, st.sampled_from(Strategy), st.data())
def test_who_is_affected_is_a_run_of_children_in_order_with_the_failed_one(names, strategy, data):
    failed = data.draw(st.sampled_from(names))
    chosen = affected(strategy, names, failed)
    assert failed in chosen
    assert "".join(chosen) in "".join(names)
    expected = {"one_for_one": 1, "one_for_all": len(names), "rest_for_one": len(names) - names.index(failed)}
    assert len(chosen) == expected[strategy]


@pytest.mark.parametrize("reason", ["normal", "shutdown", Shutdown(ValueError())])
def test_expected_ends(reason):
    assert is_normal(reason)
    assert [will_restart(kind, reason) for kind in Restart] == [True, False, False]


@pytest.mark.parametrize("reason", ["killed", "other", ValueError(), None])
def test_unexpected_ends(reason):
    assert not is_normal(reason)
    assert [will_restart(kind, reason) for kind in Restart] == [True, True, False]


@pytest.mark.property
@given(st.integers(0, 4), st.floats(0.1, 10), st.lists(st.floats(0, 5), max_size=20))
def test_a_budget_is_exceeded_exactly_when_too_many_restarts_lie_in_one_period(limit, period, gaps):
    now, times, budget = 0.0, [], Intensity(limit, period)
    for gap in gaps:
        now += gap
        times.append(now)
        budget = budget.spend(now)
        assert budget.exceeded == (sum(now - at <= period for at in times) > limit)


def test_auto_shutdown():
    for mode in AutoShutdown:
        assert not shuts_down(mode, significant=False, others_active=False)
    assert [shuts_down(mode, significant=True, others_active=True) for mode in AutoShutdown] == [False, True, False]
    assert [shuts_down(mode, significant=True, others_active=False) for mode in AutoShutdown] == [False, True, True]


@pytest.mark.property
@given(st.integers(1, 2000))
def test_backoff_never_shrinks_and_never_passes_its_cap(crashes):
    backoff = Backoff(base=0.5, factor=1.7, cap=20)
    assert 0.5 <= backoff.delay(crashes) <= backoff.delay(crashes + 1) <= 20


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(base=0),
        lambda: Backoff(factor=-1),
        lambda: Backoff(cap="long"),
        lambda: Quarantine(max_restarts=-1),
        lambda: Quarantine(retry_after=0),
        lambda: Intensity(1.5, 1),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(SpecError, match="expected"):
        make()


def test_errors_are_also_what_other_libraries_expect():
    import pykka

    assert issubclass(ActorDeadError, pykka.ActorDeadError) and issubclass(ActorDeadError, ActorError)
    assert issubclass(AskTimeout, TimeoutError) and issubclass(SpecError, ValueError)
