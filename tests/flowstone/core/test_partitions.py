"""Partitions and their stored form (semantics 2)."""

import base64
import enum
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstone.core.partitions import decode_partition, encode_partition
from flowstone.errors import PartitionError

zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
aware = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones)
texts = st.text(st.characters(exclude_categories=["Cs"]))
lookalikes = st.one_of(
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,7})?(Z|[+-][0-9]{2}:[0-9]{2})?)?",
                  fullmatch=True),
    st.from_regex(r"(d|dt|ndt|i|b|t|s|x):[0-9a-zA-Z:TZ.-]{0,20}", fullmatch=True),
    st.from_regex(r"[ab|:0-9-]{0,12}", fullmatch=True),
    st.dates().map(str), st.datetimes().map(lambda moment: moment.isoformat()), aware.map(lambda m: m.isoformat()),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), texts, lookalikes, st.dates(), st.datetimes(), aware,
)
partitions = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, datetime) and (left.tzinfo is None) is not (right.tzinfo is None):
        return False
    return bool(left == right)


@pytest.mark.property
@given(partitions)
def test_every_legal_partition_comes_back_with_the_same_type(partition: Any) -> None:
    assert same(decode_partition(encode_partition(partition)), partition)


@pytest.mark.property
@given(partitions, partitions)
def test_different_partitions_have_different_keys(one: Any, other: Any) -> None:
    assert (encode_partition(one) == encode_partition(other)) is same(one, other)


@pytest.mark.property
@given(st.one_of(st.text(), lookalikes))
def test_any_text_read_as_a_key_is_a_partition_or_a_partition_error(key: str) -> None:
    try:
        partition = decode_partition(key)
    except PartitionError as error:
        assert len(str(error)) < 1000
    else:
        assert same(decode_partition(encode_partition(partition)), partition)


@pytest.mark.parametrize(
    ("partition", "stored"),
    [
        (None, ""),
        (date(2025, 1, 15), "d:2025-01-15"),
        (date(1, 1, 1), "d:0001-01-01"),
        (datetime(2025, 1, 15, 2, tzinfo=UTC), "dt:2025-01-15T02:00:00Z"),
        (datetime(2025, 1, 15, 4, tzinfo=timezone(timedelta(hours=2))), "dt:2025-01-15T02:00:00Z"),
        (datetime(2025, 1, 15, 2, 0, 0, 500, tzinfo=UTC), "dt:2025-01-15T02:00:00.000500Z"),
        (datetime(2025, 1, 15, 2), "ndt:2025-01-15T02:00:00"),
        (datetime(2025, 1, 15, 2, 0, 0, 1), "ndt:2025-01-15T02:00:00.000001"),
        (42, "i:42"), (0, "i:0"), (-7, "i:-7"), (True, "b:true"), (False, "b:false"),
        ("eu-west", "eu-west"), ("a:b", "s:YTpi"), ("", "s:"), ("2025-01-15", "s:MjAyNS0wMS0xNQ"),
        ("2025-13-45", "2025-13-45"), ("é", "é"), ("a|b", "s:YXxi"), ("i:42", "s:aTo0Mg"),
        (("a", "b"), "t:WyJhIiwiYiJd"),
        ((("a", "b"), "c"), "t:W3siX3R5cGUiOiJ0dXBsZSIsInYiOlsiYSIsImIiXX0sImMiXQ"),
        ((), "t:W10"),
    ],
)
def test_the_stored_form_is_the_table_s(partition: Any, stored: str) -> None:
    assert encode_partition(partition) == stored
    assert same(decode_partition(stored), partition)


@pytest.mark.parametrize(
    ("partition", "json"),
    [
        ((None, True, 3, "é\""), '[null,true,3,"é\\""]'),
        ((date(2025, 1, 15),), '[{"_type":"date","v":"2025-01-15"}]'),
        ((datetime(2025, 1, 15, 2, tzinfo=UTC),), '[{"_type":"datetime","v":"2025-01-15T02:00:00Z"}]'),
        ((datetime(2025, 1, 15, 2),), '[{"_type":"naive_datetime","v":"2025-01-15T02:00:00"}]'),
        ((("a", ("b",)),), '[{"_type":"tuple","v":["a",{"_type":"tuple","v":["b"]}]}]'),
    ],
)
def test_a_tuple_is_compact_json_with_the_type_first_and_no_escapes(partition: Any, json: str) -> None:
    encoded = encode_partition(partition)
    text = encoded.removeprefix("t:")
    assert "=" not in text
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() == json


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Stamp(datetime):
    pass


class Text(str):
    pass


@pytest.mark.parametrize(
    ("partition", "named"),
    [
        (1.5, "float"), (b"a", "bytes"), ([1], "list"), ({"a": 1}, "dict"), ({1}, "set"), (Decimal(1), "Decimal"),
        (Colour.RED, "Colour"), (Level.LOW, "Level"), (Stamp(2025, 1, 1), "Stamp"), (Text("a"), "Text"),
        (timedelta(1), "timedelta"), (object(), "object"), (float("nan"), "float"),
    ],
)
def test_any_other_type_is_refused_by_its_name_alone_and_inside_a_tuple(partition: Any, named: str) -> None:
    for given_partition in (partition, (partition,), ("a", ("b", partition))):
        with pytest.raises(PartitionError, match=named):
            encode_partition(given_partition)


@pytest.mark.parametrize("partition", ["\ud800", "a\udfff", ("\ud800",), (("a", "x\udc00"),)])
def test_lone_surrogates_are_refused(partition: Any) -> None:
    with pytest.raises(PartitionError, match="surrogate"):
        encode_partition(partition)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_an_instant_outside_the_years_1_to_9999_in_utc_is_refused(moment: datetime) -> None:
    for partition in (moment, (moment,)):
        with pytest.raises(PartitionError, match="years 1 to 9999"):
            encode_partition(partition)


@pytest.mark.parametrize(
    "partition",
    ["x" * 100_000, 10**5000, -(10**5000), (10**5000,), 10**4300, 10**3999, "nul\0in", "\0"],
    ids=["text", "int", "negative", "tuple", "4301", "4000", "nul", "only-nul"],
)
def test_long_and_odd_values_come_back(partition: Any) -> None:
    assert same(decode_partition(encode_partition(partition)), partition)


def test_no_key_holds_a_nul_which_postgresql_refuses() -> None:
    assert "\0" not in encode_partition("a\0b")


def nested(depth: int) -> tuple[Any, ...]:
    value: tuple[Any, ...] = ("a",)
    for _ in range(depth):
        value = (value,)
    return value


def test_tuples_nest_up_to_a_fixed_depth() -> None:
    assert decode_partition(encode_partition(nested(200))) == nested(200)
    for depth in (201, 100_000):
        with pytest.raises(PartitionError, match="at most 200 deep"):
            encode_partition(nested(depth))


@pytest.mark.parametrize(
    ("key", "partition"),
    [
        ("2025-01-15", date(2025, 1, 15)),
        ("2025-01-15T02:00:00Z", datetime(2025, 1, 15, 2, tzinfo=UTC)),
        ("2025-01-15T04:00:00+02:00", datetime(2025, 1, 15, 2, tzinfo=UTC)),
        ("2025-01-15T02:00:00.5Z", datetime(2025, 1, 15, 2, 0, 0, 500_000, tzinfo=UTC)),
        ("2025-01-15T02:00:00", datetime(2025, 1, 15, 2)),
        ("a|b|c", ("a", "b", "c")),
        ("eu|2025-01-15", ("eu", date(2025, 1, 15))),
        ("eu|2025-01-15T02:00:00Z|", ("eu", datetime(2025, 1, 15, 2, tzinfo=UTC), None)),
        ("2025-02-30", "2025-02-30"),
        ("2025-01-15T24:00:00", "2025-01-15T24:00:00"),
        ("20250115", "20250115"),
        ("2025-W03-1", "2025-W03-1"),
        ("s:aGVsbG8", "hello"),
    ],
)
def test_what_older_releases_wrote_is_still_read(key: str, partition: Any) -> None:
    assert same(decode_partition(key), partition)


def _tuple_key(json: str) -> str:
    return "t:" + base64.urlsafe_b64encode(json.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "key",
    [
        "d:", "d:2025-13-45", "d:20250115", "d:2025-W03-1", "d:2025-01-15T00:00:00", "d:٢025-01-15", "d:2025-01-15 ",
        "dt:2025-01-15T02:00:00", "dt:2025-01-15T02:00:00+00:00", "dt:x", "dt:0001-01-01T00:00:00+05:00",
        "dt:2025-01-15T02:00:00.000000Z", "ndt:2025-01-15T02:00:00Z", "ndt:2025-01-15", "ndt:",
        "i:", "i:abc", "i:4_2", "i:042", "i:+1", "i:-0", "i: 1", "i:1.0", "i:٤٢", "b:True", "b:", "b:1",
        "s:%%%", "s:YTpi=", "s:YTpj\n", "s:/+8", "s:_w", "s:é", "t:", "t:!!!", "t:YQ", "x:y", "foo:bar",
        _tuple_key("{}"), _tuple_key('"a"'), _tuple_key("[1.5]"), _tuple_key("[NaN]"), _tuple_key("[ 1]"),
        _tuple_key("[1e2]"), _tuple_key("[[1]]"), _tuple_key('[{"v":"2025-01-15","_type":"date"}]'),
        _tuple_key('[{"_type":"date","v":"x"}]'), _tuple_key('[{"_type":"float","v":1}]'),
        _tuple_key('[{"_type":"date","v":"2025-01-15","w":1}]'), _tuple_key('["\\ud800"]'), _tuple_key('["\\u00e9"]'),
        _tuple_key("[" * 100_000), _tuple_key("[-0]"), _tuple_key('[{"_type":"date"}]'),
        _tuple_key('[{"_type":["a"],"v":1}]'), "a|i:x", "nul\0in", "\ud800",
    ],
    ids=lambda key: ascii(key[:30]),
)
def test_a_damaged_key_is_a_partition_error(key: str) -> None:
    with pytest.raises(PartitionError):
        decode_partition(key)


def test_a_damaged_key_is_shown_with_its_first_80_characters() -> None:
    key = "i:" + "".join(chr(ord("a") + place % 26) for place in range(500))
    with pytest.raises(PartitionError, match=re.escape(repr(key[:80]))) as refused:
        decode_partition(key)
    assert key[:81] not in str(refused.value)


@pytest.mark.parametrize("key", [None, 3, b"d:2025-01-15"])
def test_a_key_that_is_no_text_is_refused(key: Any) -> None:
    with pytest.raises(PartitionError, match="to be text"):
        decode_partition(key)
