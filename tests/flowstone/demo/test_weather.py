"""The demo's weather: four whole years, handed out as files that appear whole."""

from datetime import date, timedelta

import pytest

from flowstone.demo.weather import Day, Month, Station, normals, seattle
from flowstone.errors import ValidationError


def test_four_years_without_a_gap_are_shipped():
    days = [day.date for day in seattle()]
    assert days == [date(2012, 1, 1) + timedelta(days=number) for number in range(1461)]


def test_a_day_survives_its_file(tmp_path):
    for day in (seattle()[0], seattle()[-1]):
        path = tmp_path / f"{day.date}.csv"
        path.write_text(day.text(), "utf-8")
        assert Day.read(path) == day


@pytest.mark.parametrize("text", ["", "date\n", "a,b\n1,2\n", seattle()[0].text() * 2])
def test_a_file_of_another_form_is_refused_by_name(tmp_path, text):
    path = tmp_path / "2012-01-01.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ValidationError, match=r"2012-01-01\.csv"):
        Day.read(path)


def test_files_appear_whole_and_in_order(tmp_path):
    station = Station(tmp_path)
    coming = station.missing()[:3]
    seen = []
    for day in station.deliver(coming, seen.append):
        assert Day.read(tmp_path / f"{day.date}.csv") == day
    assert seen == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"2012-01-0{n}.csv" for n in (1, 2, 3)]


def test_a_station_goes_on_with_the_days_that_are_missing(tmp_path):
    station = Station(tmp_path)
    list(station.deliver(station.missing()[:2], lambda number: None))
    assert station.missing()[0].date == date(2012, 1, 3)
    assert len(station.missing()) == 1459


def test_nothing_is_mixed_into_a_folder_of_ones_own(tmp_path):
    (tmp_path / "2012-01-01.csv").write_text("another day\n", "utf-8")
    assert Station(tmp_path).missing() == []


def test_a_month_sums_rain_and_averages_temperatures():
    days = [
        Day(date(2012, 1, 1), 0.5, 10.0, 2.0, 1.0, "rain"),
        Day(date(2012, 1, 2), 4.0, 6.0, 0.0, 1.0, "rain"),
    ]
    assert Month.of(days) == Month(days=2, temp_max=8.0, temp_min=1.0, precipitation=4.5, wet_days=1)


def test_normals_are_means_over_the_years():
    months = {
        date(2012, 3, 1): Month(31, 10.0, 4.0, 100.0, 10),
        date(2013, 3, 1): Month(31, 12.0, 6.0, 50.0, 5),
    }
    (march,) = normals(months)
    assert march == {
        "month": 3, "years": 2, "days": 62, "temp_max": 11.0, "temp_min": 5.0, "precipitation": 75.0, "wet_days": 7.5,
    }  # fmt: skip
