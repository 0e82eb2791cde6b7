"""Names, keywords and the place of a definition."""

import pytest

from flowstone.core.keywords import check_keywords, checked_keywords
from flowstone.core.location import caller
from flowstone.core.names import check_name
from flowstone.errors import ValidationError


@pytest.mark.parametrize("name", ["a", "_x", "0", "Daily.report-2", "x" * 128])
def test_a_legal_name_is_itself(name: str) -> None:
    assert check_name("asset", name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "a b", "a:b", "a/b", "..", "x" * 129, "é", "a\n", "a\0", None, 3, b"a", "١"]
)
def test_any_other_name_is_refused_with_its_kind_and_value(name: object) -> None:
    with pytest.raises(ValidationError, match="expected the sensor name"):
        check_name("sensor", name)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [("poll_interval", "every"), ("partition_fn", "partition"), ("check_fn", "check"), ("repo", "url"),
     ("cron_expression", "cron")],
)
def test_a_name_known_from_elsewhere_gets_ours_as_suggestion(foreign: str, ours: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_keywords("sensor", {foreign: 1}, ["every", "partition", "check", "url", "cron"])
    assert repr(foreign) in str(refused.value)
    assert repr(ours) in str(refused.value)


def test_module_is_told_to_give_the_sensor_value() -> None:
    with pytest.raises(ValidationError, match="'module'; give the sensor value itself"):
        check_keywords("sensor", {"module": 1}, ["every"])


def test_a_misspelt_keyword_gets_the_nearest_and_a_strange_one_the_list() -> None:
    with pytest.raises(ValidationError, match="does not take 'timezon'; did you mean 'timezone'"):
        check_keywords("schedule", {"timezon": 1}, ["timezone", "cron"])
    with pytest.raises(ValidationError, match="does not take 'zzz'; it takes: timezone, cron"):
        check_keywords("schedule", {"zzz": 1}, ["timezone", "cron"])


def test_all_unknown_keywords_are_named_at_once() -> None:
    with pytest.raises(ValidationError) as refused:
        check_keywords("asset", {"tmeout": 1, "name": 2, "retri": 3}, ["timeout", "name", "retry"])
    assert "'timeout'" in str(refused.value)
    assert "'retry'" in str(refused.value)


def test_a_checked_class_refuses_unknown_keywords_and_takes_the_others() -> None:
    @checked_keywords
    class Point:
        def __init__(self, x: int, *, y: int = 0) -> None:
            self.at = (x, y)

    assert Point(1, y=2).at == (1, 2)
    with pytest.raises(ValidationError, match="Point does not take 'yy'; did you mean 'y'"):
        Point(1, yy=2)


def test_a_definition_s_place_is_the_line_of_the_user_s_code() -> None:
    file, _, line = caller().rpartition(":")
    assert file == __file__
    assert int(line) > 0


def test_frames_of_our_own_packages_are_no_definition_s_place() -> None:
    ours = {"caller": caller, "__name__": "flowstone.pipeline"}
    exec(compile("def define(): return caller()", "ours.py", "exec"), ours)
    assert eval("define()", ours).startswith(f"{__file__}:")
    assert ours["define"]().startswith(f"{__file__}:")
