"""Where a store is, and what can't be one: a clear error, and nothing half started."""

import os
import threading
from pathlib import Path

import pytest

from flowstone.errors import ConfigError, FlowstoneError, StoreUnavailable
from flowstone.state.database import Database
from flowstone.state.url import place_of


def test_three_slashes_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("sqlite:///store.db").path == str(tmp_path / "store.db")


def test_four_slashes_are_absolute(tmp_path: Path) -> None:
    assert place_of(f"sqlite:///{tmp_path}/store.db").path == str(tmp_path / "store.db")


def test_a_link_leads_to_the_file_whose_lock_counts(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    assert place_of(f"sqlite:///{tmp_path}/link.db").path == str(tmp_path / "store.db")


@pytest.mark.parametrize(
    "url", ["", "store.db", "sqlite:", "sqlite:///", "sqlite://store.db", "mysql:///x", "memory:///x", "sqlite:///a\0b"]
)
def test_an_unknown_form_is_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(ConfigError, match="memory://"):
        place_of(url)


def refused(url: str) -> FlowstoneError:
    before = set(threading.enumerate())
    with pytest.raises(StoreUnavailable) as caught:
        Database.open(url, busy_timeout=0.05)
    assert set(threading.enumerate()) == before
    return caught.value


def test_a_missing_directory_is_one_clear_error(tmp_path: Path) -> None:
    error = refused(f"sqlite:///{tmp_path}/missing/store.db")
    assert "missing does not exist" in str(error)
    assert not error.retryable
    assert os.listdir(tmp_path) == []


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    assert "is a directory" in str(refused(f"sqlite:///{tmp_path}"))


def test_a_circle_of_links_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused(f"sqlite:///{tmp_path}/a/store.db")


def test_a_place_that_takes_no_files_is_one_clear_error() -> None:
    refused("sqlite:////proc/flowstone.db")


def test_a_file_of_something_else_is_one_clear_error_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ada, " * 200)
    error = refused(f"sqlite:///{path}")
    assert "not a database" in str(error)
    assert not error.retryable
    assert path.read_text() == "Dear Ada, " * 200


def test_after_a_failed_start_the_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_text("no database " * 100)
    refused(f"sqlite:///{path}")
    path.unlink()
    Database.open(f"sqlite:///{path}").close()
