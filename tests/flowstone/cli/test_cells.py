"""What cells of tables show of a value: what people read, not how Python writes it."""

from datetime import UTC, date, datetime

import pytest

from flowstone.cli.output import print_table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (datetime(2025, 1, 15, 2, tzinfo=UTC), "2025-01-15 02:00:00Z"),
        (date(2025, 1, 15), "2025-01-15"),
        (0.0012345678901234, "0.001235"),
        (12.0, "12.0"),
        (("raw", "stock"), "raw, stock"),
        ((), ""),
        ([1, "a"], '[1, "a"]'),
        ({"n": 1}, '{"n": 1}'),
        ({}, ""),
    ],
)
def test_a_cell_shows_what_people_read(value, shown, capsys):
    print_table(None, ["value"], [[value]])
    assert capsys.readouterr().out.splitlines()[1].strip() == shown
