"""What is refused before any parser sees it, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.cron.syntax import parse
from flowstone.cron.text import split
from flowstone.errors import CronError

REFUSED = [
    (None, "expression", "expected a str, got NoneType"),
    (5, "expression", "expected a str, got int"),
    (b"* * * * *", "expression", "expected a str, got bytes"),
    (["* * * * *"], "expression", "expected a str, got list"),
    ("", "expression", "expected 5 fields"),
    ("   ", "expression", "expected 5 fields"),
    ("* * * *", "expression", "got 4"),
    ("* * * * * *", "expression", "libraries disagree whether seconds come first or last"),
    ("* * * * * * 2025", "expression", "got 7"),
    ("0" * 252 + " * * * *", "expression", "at most 256 characters, got 260"),
    ("9" * 5000, "expression", "at most 256 characters"),
    ("0 2 * * \u0661", "expression", "ASCII"),
    ("0 2 * *\u00a0*", "expression", "ASCII"),
    ("0 2 * * *\x00", "day-of-week", "can't read"),
    ("@reboot", "expression", "no instant"),
    ("@every 5m", "expression", "expected 5 fields"),
    ("@fortnightly", "expression", "unknown name"),
    ("@", "expression", "unknown name"),
    ("@daily * * * *", "minute", "can't read"),
    ("60 * * * *", "minute", "60 is out of range 0-59"),
    ("* 24 * * *", "hour", "24 is out of range 0-23"),
    ("* * 0 * *", "day-of-month", "0 is out of range 1-31"),
    ("* * 32 * *", "day-of-month", "32 is out of range 1-31"),
    ("* * * 0 *", "month", "0 is out of range 1-12"),
    ("* * * 13 *", "month", "13 is out of range 1-12"),
    ("* * * * 8", "day-of-week", "8 is out of range 0-7"),
    ("* * * * 1-8", "day-of-week", "8 is out of range 0-7"),
    ("-1 * * * *", "minute", "can't read"),
    ("1.5 * * * *", "minute", "can't read"),
    ("1e1 * * * *", "minute", "can't read"),
    ("0x5 * * * *", "minute", "can't read"),
    ("+5 * * * *", "minute", "can't read"),
    (", * * * *", "minute", "can't read"),
    ("1,,2 * * * *", "minute", "can't read"),
    ("1, * * * *", "minute", "can't read"),
    ("1- * * * *", "minute", "can't read"),
    ("1-2-3 * * * *", "minute", "can't read"),
    ("1/ * * * *", "minute", "can't read"),
    ("*5 * * * *", "minute", "can't read"),
    ("*-5 * * * *", "minute", "can't read"),
    ("** * * * *", "minute", "can't read"),
    ("*/5/5 * * * *", "minute", "can't read"),
    ("*/a * * * *", "minute", "can't read"),
    ("jan * * * *", "minute", "can't read"),
    ("* * * monday *", "month", "can't read"),
    ("* * * january *", "month", "can't read"),
    ("* * * * jan", "day-of-week", "can't read"),
    ("* * * * xyz", "day-of-week", "can't read"),
    ("* * ? * *", "day-of-month", "write *"),
    ("* * * * ?", "day-of-week", "write *"),
    ("5-5 * * * *", "minute", "does not go up"),
    ("50-10 * * * *", "minute", "does not go up"),
    ("* 22-2 * * *", "hour", "does not go up"),
    ("* * 20-10 * *", "day-of-month", "does not go up"),
    ("* * 31-L * *", "day-of-month", "does not go up"),
    ("* * * nov-feb *", "month", "does not go up"),
    ("* * * * fri-mon", "day-of-week", "does not go up"),
    ("* * * * 7-5", "day-of-week", "does not go up"),
    ("* * * * 0-0", "day-of-week", "does not go up"),
    ("* * * * 7-7", "day-of-week", "does not go up"),
    ("* * * * 7-0", "day-of-week", "does not go up"),
    ("* * * * sun-sun", "day-of-week", "does not go up"),
    ("*/0 * * * *", "minute", "is zero"),
    ("0-30/0 * * * *", "minute", "is zero"),
    ("*/60 * * * *", "minute", "never advances"),
    ("*/100 * * * *", "minute", "never advances"),
    ("10-20/11 * * * *", "minute", "never advances"),
    ("59/1 * * * *", "minute", "never advances"),
    ("* */24 * * *", "hour", "never advances"),
    ("* * */31 * *", "day-of-month", "never advances"),
    ("* * * */12 *", "month", "never advances"),
    ("* * * * */7", "day-of-week", "never advances"),
    ("* * * * 7/2", "day-of-week", "never advances"),
    ("R * * * *", "minute", "R is random"),
    ("R/5 * * * *", "minute", "R is random"),
    ("R(0-30) * * * *", "minute", "R is random"),
    ("R(0-30)/7 * * * *", "minute", "R is random"),
    ("* r * * *", "hour", "R is random"),
    ("H,30 * * * *", "minute", "H must be alone"),
    ("H-30 * * * *", "minute", "can't read"),
    ("H(30-10) * * * *", "minute", "does not go up"),
    ("H(10-10) * * * *", "minute", "does not go up"),
    ("H(0-60) * * * *", "minute", "60 is out of range 0-59"),
    ("H/60 * * * *", "minute", "never advances"),
    ("H/0 * * * *", "minute", "never advances"),
    ("H(0-10)/11 * * * *", "minute", "never advances"),
    ("L * * * *", "minute", "can't read"),
    ("* * L-3 * *", "day-of-month", "can't read 'l-3'"),
    ("* * LW * *", "day-of-month", "W must be alone"),
    ("* * 0W * *", "day-of-month", "0 is out of range 1-31"),
    ("* * 32W * *", "day-of-month", "32 is out of range 1-31"),
    ("* * 1W,15 * *", "day-of-month", "W must be alone"),
    ("* * 15,1W * *", "day-of-month", "W must be alone"),
    ("* * 1-5W * *", "day-of-month", "W must be alone"),
    ("* * W * *", "day-of-month", "W must be alone"),
    ("* * L2 * *", "day-of-month", "can't read"),
    ("* * 5#2 * *", "day-of-month", "can't read"),
    ("* * * * L", "day-of-week", "can't read"),
    ("* * * * 5L", "day-of-week", "can't read"),
    ("* * * * L8", "day-of-week", "8 is out of range 0-7"),
    ("* * * * Lfri", "day-of-week", "can't read"),
    ("* * * * 5#0", "day-of-week", "expected 1 to 5"),
    ("* * * * 5#6", "day-of-week", "expected 1 to 5"),
    ("* * * * 8#2", "day-of-week", "8 is out of range 0-7"),
    ("* * * * *#2", "day-of-week", "can't read"),
    ("* * * * 1-5#2", "day-of-week", "can't read"),
    ("* * * * fri-mon#2", "day-of-week", "does not go up"),
    ("* * * * 5#", "day-of-week", "can't read"),
    ("* * * * 1,5#2", "day-of-week", "plain weekdays"),
    ("* * * * L5,1", "day-of-week", "plain weekdays"),
    ("0 0 1,15 * fri#3", "day-of-week", "can't be combined with day-of-month"),
    ("0 0 13 * L5", "day-of-week", "can't be combined with day-of-month"),
    ("0 0 L * 5#1", "day-of-week", "can't be combined with day-of-month"),
    ("0 0 15W * fri", "day-of-month", "can't be combined with day-of-week"),
    ("0 0 W15 * fri#3", "day-of-month", "can't be combined with day-of-week"),
    ("0 0 30 2 *", "day-of-month", "never fires"),
    ("0 0 31 2,4,6,9,11 *", "day-of-month", "never fires"),
    ("0 0 30-31 2 *", "day-of-month", "never fires"),
    ("0 0 31 2 */2", "day-of-month", "never fires"),
    ("H * * * *", "minute", "hash of the schedule's name"),
    ("* * * * H(1-5)", "day-of-week", "hash of the schedule's name"),
]

LEGAL = [
    "* * * * *",
    "  0\t2  * * *\n",
    "00 02 01 01 00",
    "@Hourly",
    " @daily ",
    "@midnight",
    "@weekly",
    "@monthly",
    "@yearly",
    "@ANNUALLY",
    "0-59 0-23 1-31 1-12 0-7",
    "*/59 */23 */30 */11 */6",
    "10/5 3/7 1/10 2/5 mon/2",
    "1,5-10,20-40/5,*/20 * * * *",
    "0 0 * JAN-Mar,dec SUN,tue-THU",
    "0 0 * * fri-sun",
    "0 0 * * fri-0/2",
    "0 0 L * *",
    "0 0 1-5,L * *",
    "0 0 25-L/2 * *",
    "0 0 L * fri",
    "0 0 15W * *",
    "0 0 w15 * *",
    "0 0 15W * */2",
    "0 0 */2 * fri#3",
    "0 0 * * 1#1,wed#3,L5,L7",
    "0 0 * * mon-fri#2",
    "0 0 31 2 1",
    "0 0 29 2 *",
    "0 0 * 2 mon#5",
]


@pytest.mark.parametrize(("expression", "field", "reason"), REFUSED, ids=lambda value: repr(value)[:40])
def test_refused_with_expression_field_and_reason(expression: str, field: str, reason: str) -> None:
    with pytest.raises(CronError) as caught:
        parse(expression)
    error = caught.value
    assert error.context["field"] == field
    assert reason in error.context["reason"]
    assert field in str(error) and reason in str(error)
    assert (repr(expression)[:50] in str(error)) and len(str(error)) < 400


@pytest.mark.parametrize("expression", LEGAL)
def test_legal(expression: str) -> None:
    parse(expression)


@pytest.mark.parametrize("text", ["H", "h", "H/15", "H(0-29)", "H(10-40)/10"])
def test_hash_is_legal_with_a_name(text: str) -> None:
    parse(f"{text} H H(1-10) * *", "daily_report")


@pytest.mark.parametrize("name", ["", None])
def test_hash_needs_a_name(name: str | None) -> None:
    with pytest.raises(CronError, match="hash of the schedule's name"):
        parse("H * * * *", name)


def test_names_stand_for_their_fields() -> None:
    assert split("@hourly") == ("0", "*", "*", "*", "*")
    assert split("@weekly") == ("0", "0", "*", "*", "0")
    assert split("@yearly") == split("@annually") == ("0", "0", "1", "1", "*")


@pytest.mark.property
@given(st.text(max_size=40) | st.from_regex(r"([0-9*/,\-LWHR#a-c?]{1,5} ){4}[0-9*/,\-LWH#a-c?]{1,5}", fullmatch=True))
def test_any_text_is_read_or_refused_in_one_error(text: str) -> None:
    try:
        fields = parse(text, "name")
    except CronError as error:
        assert error.context["reason"] in str(error)
    else:
        assert fields.times


@pytest.mark.property
@given(st.none() | st.integers() | st.binary() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(CronError, match="expected a str"):
        parse(value)  # type: ignore[arg-type]
