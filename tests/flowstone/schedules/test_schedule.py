"""Rules of semantics 4 about what a schedule is: each option checked at construction, with one clear error."""

from datetime import timedelta

import pytest

from flowstone.core.asset import Asset
from flowstone.cron import Cron, Interval
from flowstone.errors import CronError, ValidationError
from flowstone.schedules.policies import Misfire, MisfireMode, Overlap
from flowstone.schedules.rules import previous_day, this_hour
from flowstone.schedules.schedule import Schedule


def test_the_target_is_the_name_unless_given():
    assert Schedule("report", cron="@daily").target == "report"
    assert Schedule("report", cron="@daily", target="+total").target == "+total"


def test_the_target_may_be_an_asset_itself():
    assert Schedule("nightly", cron="@daily", target=Asset(lambda context: 1, name="total")).target == "total"


def test_the_defaults_are_those_of_the_rules():
    schedule = Schedule("report", cron="0 2 * * *")
    assert (schedule.timezone, schedule.gap, schedule.fold) == ("UTC", "shift", "first")
    assert (schedule.misfire, schedule.overlap) == (Misfire("latest", max_count=1, max_age="1d"), Overlap.SKIP)
    assert (schedule.jitter, schedule.enabled, schedule.metadata, schedule.partition) == (0.0, True, {}, None)


def test_none_means_the_default():
    given = dict.fromkeys(("timezone", "gap", "fold", "misfire", "overlap", "dedupe", "jitter", "enabled", "metadata"))
    assert Schedule("report", cron="@daily", **given) == Schedule("report", cron="@daily")


def test_overlap_is_queue_all_when_misfire_is_all():
    assert Schedule("report", every=10, misfire="all").overlap is Overlap.QUEUE_ALL
    assert Schedule("report", every=10, misfire="all", overlap="skip").overlap is Overlap.SKIP


def test_a_dedupe_scope_is_forever_unless_given():
    assert Schedule("report", every=10).definition()["dedupe"] == "forever"
    assert Schedule("report", every=10, dedupe="window:24h").definition()["dedupe"] == "window:1d"


def test_durations_are_seconds_timedeltas_or_texts():
    for every in (60, 60.0, timedelta(minutes=1), "1m"):
        assert Schedule("report", every=every).every == 60
    assert Schedule("report", every="1m", jitter="500ms").jitter == 0.5


def test_the_timing_is_that_of_the_cron_or_the_interval():
    assert Schedule("report", every="1m").timing == Interval(60)
    cron = Schedule("report", cron="30 2 * * *", timezone="Europe/London", gap="skip", fold="both").timing
    assert cron == Cron("30 2 * * *", "Europe/London", gap="skip", fold="both", name="report")


def test_h_is_a_hash_of_the_name(start):
    instants = {Schedule(f"report{n}", cron="H H * * *").timing.next_after(start) for n in range(20)}
    assert len(instants) > 15


def test_where_it_is_defined_is_known_and_no_part_of_its_meaning():
    one, two = Schedule("report", cron="@daily"), Schedule("report", cron="@daily")
    assert one == two
    assert "test_schedule.py:" in one.location


def test_its_definition_is_json_and_names_the_rule():
    definition = Schedule("report", every=60, partition=previous_day, metadata={"team": ["data"]}).definition()
    assert definition["partition_rule"] == "previous_day"
    assert definition["misfire"] == {"mode": "latest", "max_count": 1, "max_age": 86400.0}
    assert definition["metadata"] == {"team": ["data"]}


def test_a_ready_rule_may_be_named():
    assert Schedule("report", every=60, partition="this_hour").partition is this_hour


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "exactly one of cron= and every=, got: neither"),
        ({"cron": "@daily", "every": 5}, "exactly one of cron= and every=, got: cron='@daily' and every=5"),
        ({"cron_expression": "@daily"}, "did you mean 'cron'?"),
        ({"every": 5, "partition_fn": print}, "did you mean 'partition'?"),
        ({"every": 5, "poll_interval": 5}, "did you mean 'every'?"),
        ({"every": 5, "overlapp": "skip"}, "did you mean 'overlap'?"),
        ({"every": "soon"}, "expected every to be seconds"),
        ({"every": 5, "target": ""}, "expected target of schedule 'report' to be an asset"),
        ({"every": 5, "target": 5}, "expected target of schedule 'report' to be an asset"),
        ({"every": 5, "overlap": "queue"}, "did you mean 'queue_one'?"),
        ({"every": 5, "overlap": 5}, "expected overlap to be one of 'skip'"),
        ({"every": 5, "misfire": "newest"}, "expected misfire to be one of 'skip', 'latest', 'all', got: 'newest'"),
        ({"every": 5, "misfire": 5}, "expected misfire to be 'skip', 'latest', 'all' or a Misfire, got: 5"),
        ({"every": 5, "dedupe": "for ever"}, "expected dedupe to be 'forever', 'until_success' or 'window:'"),
        ({"every": 5, "jitter": -1}, "expected jitter to be not negative, got: -1"),
        ({"every": 5, "enabled": "yes"}, "expected enabled to be True or False, got: 'yes'"),
        ({"every": 5, "metadata": [1]}, "expected metadata to be a mapping"),
        ({"every": 5, "metadata": {1: 2}}, "expected metadata to be a mapping"),
        ({"every": 5, "metadata": {"when": object()}}, "expected a value that JSON can hold"),
        ({"every": 5, "partition": "previous_dya"}, "did you mean 'previous_day'?"),
        ({"every": 5, "partition": 5}, "expected partition to be a function of the scheduled instant"),
    ],
)
def test_a_bad_option_is_refused(options, says):
    with pytest.raises(ValidationError) as refused:
        Schedule("report", **options)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"cron": "61 * * * *"},
        {"cron": 5},
        {"cron": "@daily", "timezone": "Mars/Olympus"},
        {"cron": "@daily", "gap": "jump"},
        {"cron": "@daily", "fold": "second"},
        {"every": 0.5},
        {"every": 5, "timezone": "Mars/Olympus"},
        {"every": 5, "gap": "jump"},
        {"every": "100000000d"},
    ],
)
def test_a_bad_timing_is_a_cron_error(options):
    with pytest.raises(CronError):
        Schedule("report", **options)


def test_a_bad_name_is_refused():
    with pytest.raises(ValidationError, match="schedule name"):
        Schedule("daily report", cron="@daily")


class TestMisfire:
    def test_max_count_is_1_for_latest_and_100_for_all(self):
        assert [Misfire(mode).max_count for mode in MisfireMode] == [0, 1, 100]

    def test_skip_runs_none_whatever_the_count(self):
        assert Misfire("skip", max_count=5).max_count == 0

    @pytest.mark.parametrize(
        "value", [Misfire(), Misfire("all", max_age=None), Misfire("skip"), Misfire("latest", max_count=3)]
    )
    def test_it_survives_json(self, value):
        assert Misfire.from_json(value.as_json()) == value

    def test_its_text_names_what_differs_from_the_default(self):
        assert str(Misfire("all")) == "all"
        assert str(Misfire("all", max_count=3, max_age="2h")) == "all(max_count=3, max_age=2h)"
        assert str(Misfire(max_age=None)) == "latest(max_age=none)"

    @pytest.mark.parametrize("count", [0, -1, 1.5, True, "3"])
    def test_a_count_below_1_is_refused(self, count):
        with pytest.raises(ValidationError, match="expected max_count of misfire to be an int of at least 1"):
            Misfire("all", max_count=count)

    def test_a_bad_age_is_refused(self):
        with pytest.raises(ValidationError, match="expected max_age of misfire to be seconds"):
            Misfire("all", max_age="old")
