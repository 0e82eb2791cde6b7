"""Whoever acts has a name."""

import getpass
from datetime import UTC, date, datetime

import flowstone as fs
import pytest

from flowstone.audit.who import because, who
from flowstone.errors import ValidationError


def test_the_one_who_is_named_acts() -> None:
    assert who("ada") == "ada"


def test_nobody_named_is_the_user_of_the_operating_system() -> None:
    assert who(None) == getpass.getuser()


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", refuse)
    assert who(None) == "unknown"


@pytest.mark.parametrize("by", ["", "  ", 7, object()])
def test_what_is_no_name_is_refused(by: object) -> None:
    with pytest.raises(ValidationError, match="by"):
        who(by)


def test_names_and_reasons_are_text_that_any_store_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert who("ren\udce9 \0") == r"ren\udce9 \x00"
    assert (because("caf\udce9"), because(None), because("")) == (r"caf\udce9", None, "")
    monkeypatch.setattr(getpass, "getuser", lambda: "ren\udce9")
    assert who(None) == r"ren\udce9"
    with pytest.raises(ValidationError, match="expected reason to be a text, got: 7"):
        because(7)


@pytest.mark.parametrize("since", ["2025", 5, date(2025, 1, 1), datetime(2025, 1, 1)])
def test_rows_are_asked_for_since_an_aware_instant(since: object) -> None:
    with fs.Runtime(fs.Pipeline("shop"), store="memory://") as runtime:
        with pytest.raises(ValidationError, match="aware"):
            runtime.audit.list(since=since)  # type: ignore[arg-type]
        assert runtime.audit.list(since=datetime(2025, 1, 1, tzinfo=UTC)) == ()
