"""Run keys, run ids and fingerprints (semantics 6)."""

import base64
import hashlib
import hmac
import re
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.run_key import (
    backfill_key,
    bounded,
    check_user_key,
    event_key,
    fingerprint,
    hand_key,
    manual_key,
    manual_tick_id,
    message_text,
    poll_key,
    push_key,
    retry_key,
    run_id,
    schedule_key,
    tick_id,
)
from flowstone.errors import PartitionError, ValidationError

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)


def by_the_formula(key: str, namespace: str = "default", secret: str = "") -> str:
    digest = hmac.new(secret.encode(), f"{namespace}:{key}".encode(), hashlib.sha256).digest()[:16]
    return "run_" + base64.b32encode(digest).decode().lower()[:26]


@pytest.mark.property
@given(anything, anything, anything)
def test_a_run_id_is_30_characters_that_follow_from_secret_namespace_and_key(key: str, space: str, secret: str) -> None:
    computed = run_id(key, namespace=space, secret=secret)
    assert computed == by_the_formula(key, space, secret)
    assert re.fullmatch(r"run_[a-z2-7]{26}", computed)


def test_a_run_id_needs_no_coordination() -> None:
    assert run_id("sched:daily_report:1736935200") == "run_o6rcsruhcmrvjfaoyuf6hgbd2a"


def test_a_later_generation_has_an_id_of_its_own_as_computable_as_the_first() -> None:
    assert run_id("k", generation=0) == run_id("k")
    assert run_id("k", generation=1) == run_id("k#1") != run_id("k")
    assert run_id("k", generation=2) == by_the_formula("k#2")


@pytest.mark.parametrize("arguments", [{"run_key": "\ud800"}, {"run_key": "a", "secret": 3}])
def test_a_run_id_of_what_is_no_text_is_refused(arguments: Any) -> None:
    with pytest.raises(ValidationError):
        run_id(**arguments)


@pytest.mark.property
@given(anything)
def test_a_bounded_key_has_512_characters_at_most_and_carries_no_generation(key: str) -> None:
    short = bounded(key * 3)
    assert len(short) <= 512
    assert not re.search(r"#[0-9]+\Z", short)
    assert bounded(short) == short


def test_a_computed_key_over_512_characters_becomes_its_prefix_and_a_sha256() -> None:
    assert bounded("x" * 512) == "x" * 512
    long = "x" * 512 + "y"
    assert bounded(long) == "x" * 447 + ":" + hashlib.sha256(long.encode()).hexdigest()
    assert bounded(long) != bounded("x" * 512 + "z")


@pytest.mark.property
@given(st.lists(st.tuples(st.sampled_from(["poll", "push", "backfill", "event"]), names, anything, st.integers(0, 9)),
                unique=True, max_size=6))
def test_keys_of_different_causes_differ(causes: list[tuple[str, str, str, int]]) -> None:
    build: dict[str, Any] = {
        "poll": lambda name, text, n: poll_key(name, f"ev{n}", n),
        "push": push_key,
        "backfill": lambda name, text, n: backfill_key(name, text),
        "event": lambda name, text, n: event_key(text),
    }
    same_cause = {
        "poll": lambda name, text, n: (name, n),
        "push": lambda name, text, n: (name, text, n),
        "backfill": lambda name, text, n: (name, text),
        "event": lambda name, text, n: (text,),
    }
    distinct = {(kind, *same_cause[kind](name, text, n)) for kind, name, text, n in causes}
    assert len({build[kind](name, text, n) for kind, name, text, n in causes}) == len(distinct)


def test_the_keys_are_those_of_the_rules() -> None:
    assert schedule_key("daily", 1736935200) == "sched:daily:1736935200"
    assert manual_key("daily", 17) == "sched:daily:manual:17"
    assert (tick_id("daily", 1736935200), manual_tick_id("daily", 17)) == ("daily:1736935200", "daily:manual:17")
    assert poll_key("files", "ev1", 0) == "sensor:files:ev1:0"
    assert push_key("orders", "m-1") == "sensor:orders:msg:m-1"
    assert push_key("orders", "m-1", 1) == "sensor:orders:msg:m-1:1"
    assert backfill_key("bf", date(2025, 1, 15)) == "backfill:bf:d:2025-01-15"
    assert event_key("9") == "event:9"
    assert retry_key("run_a", 1) == "retry:run_a:1"
    assert re.fullmatch(r"manual:[0-9a-f-]{36}", hand_key())
    assert hand_key() != hand_key()


def test_a_key_that_looks_as_if_it_carried_a_generation_is_hashed() -> None:
    first_of_other = backfill_key("bf", "a#1")
    assert run_id(first_of_other) != run_id(backfill_key("bf", "a"), generation=1)


@pytest.mark.parametrize("message_id", ["a", "A.b-c_9", "x" * 200])
def test_a_plain_message_id_stands_as_itself(message_id: str) -> None:
    assert message_text(message_id) == message_id


@pytest.mark.parametrize("message_id", ["", "a:b", "x" * 201, "é", "a b", "a\n", "a#1", "\ud800"])
def test_any_other_message_id_stands_as_its_hash(message_id: str) -> None:
    expected = hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()
    assert message_text(message_id) == f"sha256:{expected}"


@pytest.mark.parametrize("message_id", [None, 3, b"a"])
def test_a_message_id_that_is_no_text_is_refused(message_id: Any) -> None:
    with pytest.raises(ValidationError):
        push_key("orders", message_id)


@pytest.mark.parametrize("key", ["a", "x" * 512, "a#", "a#1b", "#1#", "é ü", "a#١"])
def test_a_user_s_own_key_is_kept(key: str) -> None:
    assert check_user_key(key) == key


@pytest.mark.parametrize("key", ["", "x" * 513, "a#1", "#007", "a\0b", "\ud800", None, 3, b"a"])
def test_a_user_s_key_that_is_long_or_odd_or_ends_as_a_generation_is_refused(key: Any) -> None:
    with pytest.raises(ValidationError, match="expected a run key"):
        check_user_key(key)


def test_a_fingerprint_is_of_the_assets_and_partitions_in_any_order() -> None:
    assert fingerprint(["b", "a", "a"], ["y", "x"]) == fingerprint(["a", "b"], ["x", "y"])
    assert re.fullmatch(r"[0-9a-f]{64}", fingerprint(["a"]))
    assert fingerprint(["a"]) == fingerprint(["a"], [None])


def test_another_meaning_has_another_fingerprint() -> None:
    meanings = [(["a"], [None]), (["b"], [None]), (["a", "b"], [None]), (["a"], ["x"]), (["a"], [1]), (["a"], ["1"]),
                (["a"], [True]), (["a"], [date(2025, 1, 15)]), (["a"], ["2025-01-15"]), (["a"], ["x", "y"])]
    assert len({fingerprint(selection, partitions) for selection, partitions in meanings}) == len(meanings)


def test_a_fingerprint_refuses_illegal_partitions() -> None:
    with pytest.raises(PartitionError):
        fingerprint(["a"], [1.5])
