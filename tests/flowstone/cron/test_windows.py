"""The windows of local time in which ticks count."""

from itertools import pairwise

import pytest

from flowstone.cron.windows import FOLDS, GAPS, Timeline, Window, timeline
from flowstone.errors import CronError
from flowstone.zones import FIRST_INSTANT, LAST_INSTANT, segments

HOUR = 3600
# New York 2025: 02:00 EST -> 03:00 EDT at 2025-03-09T07:00:00Z; 02:00 EDT -> 01:00 EST at 2025-11-02T06:00:00Z.
SPRING, AUTUMN = 1741503600, 1762063200


def window_at(line: Timeline, instant: int) -> Window:
    return line.windows[line.begins.index(instant)]


@pytest.mark.parametrize("fold", FOLDS)
def test_after_a_gap_the_skipped_time_is_searched_only_with_shift(fold: str) -> None:
    local = SPRING - 4 * HOUR
    assert window_at(timeline("America/New_York", 2200, "shift", fold), SPRING)[:2] == (local - HOUR, local)
    assert window_at(timeline("America/New_York", 2200, "skip", fold), SPRING)[:2] == (local, local)


@pytest.mark.parametrize("gap", GAPS)
def test_in_a_fold_one_pass_counts_or_both(gap: str) -> None:
    repeated = AUTUMN - 5 * HOUR
    starts = {fold: window_at(timeline("America/New_York", 2200, gap, fold), AUTUMN).start for fold in FOLDS}
    ends = {fold: window_at(timeline("America/New_York", 2200, gap, fold), SPRING).end for fold in FOLDS}
    assert starts == {"first": repeated + HOUR, "last": repeated, "both": repeated}
    assert ends == {"first": repeated + HOUR, "last": repeated, "both": repeated + HOUR}


def test_corrections_of_the_calendar_are_neither_gap_nor_fold() -> None:
    for fold in FOLDS:
        line = timeline("Pacific/Kwajalein", 2200, "shift", fold)
        for before, after in pairwise(segments("Pacific/Kwajalein", 2200)):
            if abs(after.offset - before.offset) > 3 * HOUR:
                window = window_at(line, after.start)
                assert window.search == window.start == after.start + after.offset
                assert window_at(line, before.start).end == after.start + before.offset


def test_windows_hold_only_local_times_that_have_a_date() -> None:
    for name in ("America/New_York", "Asia/Tokyo", "UTC"):
        line = timeline(name, 9999, "shift", "first")
        assert line.windows[0].start >= FIRST_INSTANT and line.windows[-1].end <= LAST_INSTANT + 1


def test_timelines_are_made_once() -> None:
    assert timeline("Europe/Paris", 2200, "shift", "first") is timeline("Europe/Paris", 2200, "shift", "first")


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(CronError, match="no such zone"):
        timeline("Europe/Atlantis", 2200, "shift", "first")
