"""What expressions mean, day by day and minute by minute."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from flowstone.cron import Cron
from flowstone.cron.fields import Fields
from flowstone.cron.syntax import parse
from flowstone.errors import CronError

DAY = timedelta(days=1)
PINNED = {"daily_report": [137], "heartbeat": [3], "x": [1007]}


def weekdays(text: str) -> set[int]:
    fields = parse(f"0 0 * * {text}")
    # The week from Sunday, 2025-06-01, on.
    first = date(2025, 6, 1).toordinal() - date(1970, 1, 1).toordinal()
    days = range(first, first + 7)
    return {day - first for day in days if fields.days is None or fields.days.first(day) == day}


def minutes(text: str) -> list[int]:
    times = parse(f"{text} 0 * * *").times
    return [minute for minute in range(60) if times >> minute & 1]


def plain_range(low: int, high: int, step: int) -> set[int]:
    return {number % 7 for number in range(low, (high or 7) + 1, step)}


@pytest.mark.parametrize("low", range(7))
@pytest.mark.parametrize("high", range(8))
def test_each_range_of_weekdays_with_each_step(low: int, high: int) -> None:
    end = 7 if high == 0 < low else high
    for step in range(1, end - low + 1):
        assert weekdays(f"{low}-{high}/{step}") == plain_range(low, end, step)


@pytest.mark.property
@given(st.integers(0, 58), st.integers(1, 59), st.integers(1, 59))
def test_ranges_and_steps_are_those_of_python(low: int, width: int, step: int) -> None:
    high = min(low + width, 59)
    step = min(step, high - low)
    assert minutes(f"{low}-{high}/{step}") == list(range(low, high + 1, step))
    assert minutes(f"{low}-{high}") == list(range(low, high + 1))
    if low + step <= 59:
        assert minutes(f"{low}/{step}") == list(range(low, 60, step))


def test_names_and_cases_and_seven_are_numbers() -> None:
    assert parse("0 0 * jan,FEB-Apr mon,7") == parse("0 0 * 1,2-4 1,0")


@pytest.mark.parametrize(
    ("expression", "wildcard"),
    [
        ("*/15 2 * * *", True),
        ("30 */2 * * *", True),
        ("@hourly", True),
        ("*,5 2 * * *", True),
        ("30 2 * * *", False),
        ("0-59 0-23 * * *", False),
        ("@daily", False),
        ("5,*/20 2 * * *", False),
        ("30 2 */2 * */2", False),
    ],
)
def test_a_star_first_in_minute_or_hour_makes_a_wildcard(expression: str, wildcard: bool) -> None:
    assert parse(expression).wildcard is wildcard


@pytest.mark.property
@given(
    st.sampled_from(["*", "*/2", "13", "1,15", "L", "10-20/3", "25-L", "1-5,L", "31", "*,3", "1,*"]),
    st.sampled_from(["*", "*/2", "5", "mon-fri", "fri-sun", "0,6", "0-7", "*,1"]),
    st.sampled_from(["*", "2", "1-6", "feb,nov", "*/5"]),
    st.dates(date(1600, 1, 1), date(2800, 1, 1)),
)
def test_days_agree_with_the_oracle(oracle: SimpleNamespace, day: str, weekday: str, month: str, start: date) -> None:
    expression = f"0 0 {day} {month} {weekday}"
    try:
        fields = parse(expression)
    except CronError:
        assert "31" in day and month in ("2", "feb,nov")
        return
    agree_on_days(fields, oracle.Matcher(expression), start)


@pytest.mark.property
@given(
    st.one_of(
        st.builds("{}W *".format, st.integers(1, 31)),
        st.builds("* {}#{}".format, st.integers(0, 7), st.integers(1, 5)),
        st.builds("* L{}".format, st.integers(0, 7)),
        st.sampled_from(["* 1#1,3#3,L5", "* 2#1,2#2,2#5", "W15 *", "*/2 fri#3", "9W */2"]),
    ),
    st.dates(date(1600, 1, 1), date(2800, 1, 1)),
)
def test_special_days_agree_with_the_oracle(oracle: SimpleNamespace, days: str, start: date) -> None:
    day, weekday = days.split()
    expression = f"0 0 {day} * {weekday}"
    agree_on_days(parse(expression), oracle.Matcher(expression), start)


def agree_on_days(fields: Fields, matcher: SimpleNamespace, start: date) -> None:
    for offset in range(100):
        day = start + offset * DAY
        number = day.toordinal() - date(1970, 1, 1).toordinal()
        matched = fields.days is None or fields.days.first(number) == number
        assert matched == matcher.matches_day(day), day
        assert matched == (fields.days is None or fields.days.last(number) == number), day


@pytest.mark.property
@given(
    st.sampled_from(["L", "15W", "31W", "1W", "L,15", "25-L"]).map("{} *".format)
    | st.sampled_from(["5#3", "fri#5", "L5", "L0", "mon-fri#2", "1#1,L5"]).map("* {}".format),
    st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),
)
def test_special_days_are_those_of_croniter(days: str, start: datetime) -> None:
    day, weekday = days.split()
    expression = f"0 12 {day} * {weekday}"
    theirs = croniter(expression, start.replace(microsecond=0))
    mine, at = Cron(expression), start.replace(microsecond=0, tzinfo=UTC)
    for _ in range(5):
        at = mine.next_after(at)
        assert at == theirs.get_next(datetime).replace(tzinfo=UTC)


def test_the_hash_of_a_name_stays_the_same_for_ever() -> None:
    # Were these to change, every schedule with H would move at an upgrade.
    found = {name: minutes_of(parse("H H * * *", name)) for name in PINNED}
    assert found == PINNED


def minutes_of(fields: Fields) -> list[int]:
    return [minute for minute in range(1440) if fields.times >> minute & 1]


def test_the_hash_spreads_names_over_the_range() -> None:
    counts = Counter(minutes_of(parse("H(0-29) 0 * * *", f"schedule_{i}"))[0] for i in range(3000))
    assert set(counts) == set(range(30))
    assert max(counts.values()) < 3 * min(counts.values())


def test_the_hashes_of_minute_and_hour_are_independent() -> None:
    found = {minutes_of(parse("H H * * *", f"schedule_{i}"))[0] for i in range(3000)}
    assert len(found) > 1000


def test_the_hash_with_a_step_begins_within_the_first_step() -> None:
    for i in range(200):
        found = minutes_of(parse("H/15 0 * * *", f"schedule_{i}"))
        assert found == list(range(found[0], 60, 15)) and found[0] < 15


def test_a_hashed_day_that_no_month_has_is_refused() -> None:
    results = set()
    for i in range(200):
        try:
            parse("0 0 H 2 *", f"schedule_{i}")
            results.add("legal")
        except CronError as error:
            assert "never fires" in str(error)
            results.add("refused")
    assert results == {"legal", "refused"}


def test_what_the_parser_refuses_by_itself_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def stricter(*_: object, **__: object) -> None:
        raise ValueError("not today")

    monkeypatch.setattr("flowstone.cron.syntax.croniter", stricter)
    with pytest.raises(CronError, match="not today") as caught:
        parse("17 4,5,6,7,19 * * *")
    assert caught.value.context["expression"] == "17 4,5,6,7,19 * * *"


def test_a_name_must_be_text() -> None:
    with pytest.raises(CronError, match="name as a str, got list"):
        parse("H * * * *", ["daily_report"])  # type: ignore[arg-type]


def test_a_name_changes_nothing_without_a_hash() -> None:
    assert parse("5 4 * * *", "a") is parse("5 4 * * *", "b")
    assert parse("5 4 * * thu", "a") == parse("5 4 * * thu")
