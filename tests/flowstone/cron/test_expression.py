"""The laws of cron expressions in time zones."""

import copy
import pickle
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone.cron import Cron, Timing
from flowstone.errors import CronError, ValidationError
from flowstone.zones import segments, zone

SECOND = timedelta(seconds=1)
ZONES = (
    "UTC",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Cairo",
    "America/Santiago",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "America/St_Johns",
    "America/Caracas",
    "America/Havana",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "America/Nuuk",
    "Africa/Casablanca",
)
MINUTES = ("0", "30", "*", "*/15", "0,45", "1-59/7", "15-45", "59", "*/7")
HOURS = ("*", "0", "1", "2", "3", "23", "*/2", "1-3", "0-23", "0,1,2,23", "*/5")
DAYS = (*["* * *"] * 3, "*/2 * *", "* * sun", "* * fri-sun", "L * *", "1,30,31 * *", "* 3,4,9-11 *", "29 2 *")
CRONS = st.builds(
    lambda minute, hour, days, name, gap, fold: Cron(f"{minute} {hour} {days}", name, gap=gap, fold=fold),
    st.sampled_from(MINUTES),
    st.sampled_from(HOURS),
    st.sampled_from(DAYS),
    st.sampled_from(ZONES),
    st.sampled_from(("shift", "skip")),
    st.sampled_from(("first", "last", "both")),
)


def change_of(cron: Cron, draw: int) -> datetime:
    """One of the changes of a zone since 1970, or any instant for a zone that has none."""
    starts = [part.start for part in segments(cron.timezone, 2200) if part.start > 0] or [draw]
    return datetime.fromtimestamp(starts[draw % len(starts)], UTC)


CHANGES = st.integers(0, 4_000_000_000)
SPANS = st.timedeltas(timedelta(0), timedelta(days=4))


@pytest.mark.property
@settings(deadline=None)
@given(CRONS, CHANGES, SPANS, SPANS)
def test_ticks_agree_with_the_oracle(
    oracle: SimpleNamespace, cron: Cron, draw: int, before: timedelta, after: timedelta
) -> None:
    change = change_of(cron, draw)
    start, end = change - before, change + after
    expected = oracle.ticks(cron.expression, zone(cron.timezone), start, end, cron.gap, cron.fold)
    assert cron.between(start, end) == expected


@pytest.mark.property
@given(CRONS, CHANGES, SPANS, SPANS, SPANS)
def test_between_adds_up(cron: Cron, draw: int, before: timedelta, one: timedelta, two: timedelta) -> None:
    a = change_of(cron, draw) - before
    b, c = a + one, a + one + two
    assert cron.between(a, c) == cron.between(a, b) + cron.between(b, c)


@pytest.mark.property
@given(CRONS, CHANGES, st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_next_is_strictly_after_and_nothing_lies_between(cron: Cron, draw: int, away: timedelta) -> None:
    instant = change_of(cron, draw) + away
    found = cron.next_after(instant)
    assert found > instant
    assert found.tzinfo is UTC and found.microsecond == 0
    assert cron.next_after(found - SECOND) == cron.next_after(found - timedelta(microseconds=1)) == found
    assert cron.next_after(instant + (found - instant) / 2) == found
    assert cron.between(instant, found) == [found]
    assert cron.between(instant, found - timedelta(microseconds=1)) == []


@pytest.mark.property
@given(CRONS, CHANGES, st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_previous_is_the_inverse_of_next(cron: Cron, draw: int, away: timedelta) -> None:
    instant = change_of(cron, draw) + away
    found = cron.next_after(instant)
    before = cron.previous_before(found)
    assert before <= instant
    assert cron.next_after(before) == found
    assert cron.previous_before(cron.next_after(found)) == found
    assert cron.previous_before(found + timedelta(microseconds=1)) == found


@pytest.mark.property
@given(CRONS, CHANGES, st.integers(-1439, 1439))
def test_the_zone_of_the_question_changes_nothing(cron: Cron, draw: int, minutes: int) -> None:
    instant = change_of(cron, draw)
    elsewhere = instant.astimezone(timezone(timedelta(minutes=minutes)))
    at_home = instant.astimezone(zone(cron.timezone))
    assert cron.next_after(elsewhere) == cron.next_after(at_home) == cron.next_after(instant)
    assert cron.previous_before(at_home) == cron.previous_before(instant)


@pytest.mark.property
@given(CRONS, CHANGES)
def test_every_policy_has_a_subset_of_shift_and_both(cron: Cron, draw: int) -> None:
    start = change_of(cron, draw) - timedelta(days=2)
    end = start + timedelta(days=4)
    most = Cron(cron.expression, cron.timezone, gap="shift", fold="both").between(start, end)
    assert set(cron.between(start, end)) <= set(most)


def test_the_second_pass_of_a_repeated_hour_is_a_question_of_its_own() -> None:
    cron = Cron("*/30 1 * * *", "America/New_York")
    wall = datetime(2025, 11, 2, 1, 15, tzinfo=zone("America/New_York"))
    assert cron.next_after(wall) == datetime(2025, 11, 2, 5, 30, tzinfo=UTC)
    assert cron.next_after(wall.replace(fold=1)) == datetime(2025, 11, 2, 6, 30, tzinfo=UTC)


def test_between_is_empty_when_its_end_is_not_later() -> None:
    cron, noon = Cron("* * * * *"), datetime(2025, 1, 1, 12, tzinfo=UTC)
    assert cron.between(noon, noon) == []
    assert cron.between(noon, noon - timedelta(days=1)) == []
    assert cron.between(noon - SECOND, noon) == [noon]


# -- the ends of time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Pacific/Apia"])
@pytest.mark.parametrize("expression", ["* * * * *", "0 0 1 1 *", "30 2 * * *", "0 0 L * *"])
def test_the_ends_of_time_are_one_clear_error(name: str, expression: str) -> None:
    cron = Cron(expression, name)
    first = cron.next_after(datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))
    assert first.year in (1, 2)
    with pytest.raises(CronError, match="no instant before .* within the years 1 to 9999"):
        cron.previous_before(first)
    last = cron.previous_before(datetime.max.replace(tzinfo=UTC))
    assert last.year in (9998, 9999)
    with pytest.raises(CronError, match="no instant after .* within the years 1 to 9999"):
        cron.next_after(last)
    assert cron.between(last, datetime.max.replace(tzinfo=UTC)) == []


def test_instants_outside_the_years_in_utc_are_still_questions() -> None:
    cron = Cron("0 0 * * *")
    early = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    late = datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))
    assert cron.next_after(early) == datetime(1, 1, 1, tzinfo=UTC)
    assert cron.previous_before(late) == datetime(9999, 12, 31, tzinfo=UTC)
    with pytest.raises(CronError, match="no instant before"):
        cron.previous_before(early)
    with pytest.raises(CronError, match="no instant after"):
        cron.next_after(late)


def test_what_a_zone_never_shows_is_found_out_at_the_end_of_time() -> None:
    # The only time that matches lies in the gap of each year from 2007 on.
    cron = Cron("*/15 2 * 3 sun#2", "America/New_York")
    assert cron.next_after(datetime(1970, 1, 1, tzinfo=UTC)).year == 1970
    with pytest.raises(CronError, match="no instant after"):
        cron.next_after(datetime(2025, 1, 1, tzinfo=UTC))


def test_rules_go_on_to_the_last_year() -> None:
    cron = Cron("30 1 * * *", "America/New_York", fold="both")
    year = datetime(9998, 11, 1, tzinfo=UTC)
    found = cron.between(year, year + timedelta(days=20))
    assert len(found) == 21
    assert cron.between(datetime(2199, 12, 30, tzinfo=UTC), datetime(2200, 1, 3, tzinfo=UTC))[0].hour == 6


@pytest.mark.parametrize("expression", ["0 0 * * *", "0 0 1 1 *", "0 0 29 2 *"])
def test_the_edge_of_the_near_tables_is_not_seen(expression: str) -> None:
    cron = Cron(expression, "America/New_York")
    edge = datetime(2201, 1, 1, tzinfo=UTC)
    found = cron.between(edge - timedelta(days=4000), edge + timedelta(days=4000))
    again = [cron.previous_before(found[-1] + SECOND)]
    while len(again) < len(found):
        again.append(cron.previous_before(again[-1]))
    assert again[::-1] == found
    assert len(found) == {"0 0 * * *": 8000, "0 0 1 1 *": 21, "0 0 29 2 *": 4}[expression]


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"timezone": ["UTC"]}, "timezone"),
        ({"timezone": UTC}, "timezone"),
        ({"gap": "forward"}, "gap"),
        ({"gap": None}, "gap"),
        ({"gap": ["shift"]}, "gap"),
        ({"fold": "second"}, "fold"),
        ({"fold": 1}, "fold"),
        ({"name": 5}, "name"),
        ({"name": {}}, "name"),
    ],
)
def test_refused_options_name_themselves(options: dict[str, object], field: str) -> None:
    with pytest.raises(CronError) as caught:
        Cron("* * * * *", **options)  # type: ignore[arg-type]
    assert caught.value.context["field"] == field
    assert field in str(caught.value)


@pytest.mark.parametrize("instant", [datetime(2025, 1, 1), date(2025, 1, 1), "2025-01-01", 0, None, SECOND])
def test_instants_must_be_aware(instant: datetime) -> None:
    cron, fine = Cron("* * * * *"), datetime(2025, 1, 1, tzinfo=UTC)
    for call in (
        lambda: cron.next_after(instant),
        lambda: cron.previous_before(instant),
        lambda: cron.between(instant, fine),
        lambda: cron.between(fine, instant),
    ):
        with pytest.raises(ValidationError, match="expected an aware datetime"):
            call()


# -- values ---------------------------------------------------------------------------------------------------------


def test_crons_are_values() -> None:
    cron = Cron("H 2 * * *", "Europe/London", gap="skip", fold="last", name="daily_report")
    other = Cron("H 2 * * *", "Europe/London", gap="skip", fold="last", name="daily_report")
    assert cron == other and hash(cron) == hash(other)
    assert cron != Cron("H 2 * * *", "Europe/London", gap="skip", fold="last", name="another")
    assert cron != Cron("H 2 * * *", "Europe/London", gap="skip", name="daily_report")
    assert str(cron) == "H 2 * * * (Europe/London)"
    assert "daily_report" in repr(cron)
    with pytest.raises(AttributeError):
        cron.gap = "shift"  # type: ignore[misc]
    timing: Timing = cron
    assert timing.next_after(datetime(2025, 1, 1, tzinfo=UTC)).day == 1


def test_crons_can_be_pickled_and_copied() -> None:
    cron = Cron("H 2 * * *", "Europe/London", gap="skip", fold="last", name="daily_report")
    instant = datetime(2025, 1, 1, tzinfo=UTC)
    for twin in (pickle.loads(pickle.dumps(cron)), copy.copy(cron), copy.deepcopy(cron)):
        assert twin == cron
        assert twin.next_after(instant) == cron.next_after(instant)


@pytest.mark.concurrent
def test_threads_that_share_crons_and_cold_tables_agree() -> None:
    names = ("Europe/Lisbon", "Asia/Amman", "America/Boise", "Pacific/Easter", "Africa/Tunis")
    start, results = threading.Barrier(8), []

    def work() -> None:
        start.wait(10)
        crons = [Cron(f"{minute} 1-3 * * *", name) for name in names for minute in (3, 33)]
        instant = datetime(2025, 3, 1, tzinfo=UTC)
        results.append([cron.between(instant, instant + timedelta(days=400)) for cron in crons])

    threads = [threading.Thread(target=work, name=f"cron-{i}") for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert len(results) == 8
    assert all(result == results[0] for result in results)
