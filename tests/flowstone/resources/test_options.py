"""Options of resources: read from the environment when they are set up, and never shown."""

from __future__ import annotations

from typing import Any

import flowstone as fs
import pytest
from flowstone.resources.resource import masked, resolved


class Warehouse(fs.Resource):
    """A resource with options of all kinds."""

    def __init__(self, url: str, password: Any, **more: Any) -> None:
        self.url, self.password, self.more = url, password, more

    def setup(self) -> dict[str, Any]:
        if self.more.get("fails"):
            raise ValueError(f"{self.url} refused {self.password}")
        return {"password": self.password, **self.more}


class Slotted(fs.Resource):
    """A resource without a dict of its own."""

    __slots__ = ("token",)

    def __init__(self, token: Any) -> None:
        object.__setattr__(self, "token", token)


def test_a_variable_is_read_at_each_setup(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "one")
    runtime = start(resources={"db": Warehouse("db://here", ("env", "DB_PASSWORD"))})
    assert runtime.resources.get("db")["password"] == "one"
    runtime.stop()
    monkeypatch.setenv("DB_PASSWORD", "two")
    runtime.start()
    assert runtime.resources.get("db")["password"] == "two"


def test_variables_are_read_within_lists_and_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "here")
    given = Warehouse("db://", None, hosts=["there", ("env", "HOST")], by={"eu": ("env", "HOST")}, pair=("a", "b"))
    made = resolved(given)
    assert made.more == {"hosts": ["there", "here"], "by": {"eu": "here"}, "pair": ("a", "b")}
    assert given.more["hosts"] == ["there", ("env", "HOST")]
    assert resolved(Slotted(("env", "HOST"))).token == "here"


def test_a_variable_that_is_not_set_is_named(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)
    runtime = start(resources={"db": Warehouse("db://here", ("env", "DB_PASSWORD"))})
    with pytest.raises(fs.ResourceUnavailable, match="resource 'db' is down: the environment has no DB_PASSWORD"):
        runtime.resources.get("db")


def test_secrets_are_masked_wherever_a_reason_is_told(
    start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    pipeline = fs.Pipeline("shop")
    pipeline.asset(lambda context: 1, name="uses", requires=["db"], retry=fs.RetryPolicy(max_attempts=1))
    given = Warehouse("db://me:swordfish@here", ("env", "DB_PASSWORD"), fails=True)
    runtime = start(pipeline, resources={"db": given})
    with pytest.raises(fs.ResourceUnavailable, match="ValueError: db://me:... ?") as caught:
        runtime.materialize("uses")
    told = [str(caught.value), repr(given), str(runtime.health()), str(runtime.tree()), caplog.text]
    assert [text for text in told if "hunter2" in text or "swordfish" in text] == []
    assert "db://me:***@here refused ***" in told[0]


def test_a_resource_shows_its_options_without_secrets() -> None:
    assert repr(Warehouse("db://me:pw@here", "hunter2")) == "Warehouse(url='db://me:***@here', password='***', more={})"


def test_the_longest_secret_is_masked_first() -> None:
    assert masked("hunter22 hunter2", frozenset({"hunter2", "hunter22"})) == "*** ***"
