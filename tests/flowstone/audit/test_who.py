"""Whoever acts has a name."""

import getpass

import pytest

from flowstone.audit.who import who
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
