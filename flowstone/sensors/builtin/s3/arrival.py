"""The sensor of a bucket: each object that arrives in it, once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from flowstone.core.keywords import checked_keywords
from flowstone.core.partitions import Partition
from flowstone.durations import seconds
from flowstone.errors import ValidationError, did_you_mean, shown
from flowstone.sensors.builtin.s3.client import Connections, Listed, listed, meaning
from flowstone.sensors.builtin.s3.gathering import Gathering, answer
from flowstone.sensors.builtin.s3.notices import Notices
from flowstone.sensors.builtin.s3.objects import Filter, Found, arrival_of, day_or_key
from flowstone.sensors.builtin.s3.sweep import Sweep, first_state
from flowstone.sensors.sensor import Answer, Arrival, Sensor
from flowstone.sensors.surroundings import ALONE, Surroundings

__all__ = ["S3FileArrival"]

ORDERS = ("any", "growing")
EXISTING = ("trigger", "ignore")
DAY = 86_400.0


@checked_keywords
class S3FileArrival(Sensor):
    """Triggers once for each object that arrives in a bucket, for each new content, and for one that was put again.

    - `bucket`, `prefix` (""): what is looked at; a prefix may be a function of the time that gives one or several, so
      that only the folders of recent days are listed
    - `order` ("any"): a poll lists all keys, 1,000 a request; with "growing", for keys that only ever grow, it begins
      after the last one, and neither sees keys that come before it nor new content of old ones
    - `lookback` ("1d"): how far in the past an object may become visible, as a multipart upload does
    - `existing` ("trigger"): what is there when the sensor starts triggers too; "ignore" lets it count as seen
    - `suffix` (None): one or several, of keys; `pattern` (None): of whole keys, such as "events/*.csv"
    - `min_age` (0): objects that are younger wait for a later poll
    - `partition` (None): a function of the key; the default is the first `YYYY-MM-DD` in it, else the key
    - `limit` (1000): arrivals of one poll, and `max_requests` (1000): its requests; the rest is taken at once by
      the next poll
    - `queue_url` (None): of an SQS queue that the bucket notifies; nothing is listed then
    - `endpoint_url`, `region_name`, `profile_name`, `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`:
      as of boto3, whose own configuration is the default; `client=` and `queue_client=` are clients of your own

    The payload is `bucket`, `key`, `size`, `etag`, `last_modified`; notifications add `version`.

    Raises:
        ValidationError: an unknown keyword, or a bad option.
    """

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str | Callable[[Any], Any] = "",
        order: str = "any",
        lookback: object = "1d",
        existing: str = "trigger",
        suffix: str | tuple[str, ...] | list[str] | None = None,
        pattern: str | None = None,
        min_age: object = 0,
        partition: Callable[[str], Partition] | None = None,
        limit: int = 1000,
        max_requests: int = 1000,
        queue_url: str | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        profile_name: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        client: Any = None,
        queue_client: Any = None,
    ) -> None:
        suffixes = (suffix,) if isinstance(suffix, str) else tuple(suffix or ())
        _check(bucket, "bucket", "the name of a bucket", _is_text(bucket) and "/" not in bucket)
        _check(prefix, "prefix", "a text or a function of the time", isinstance(prefix, str) or callable(prefix))
        _choose(order, "order", ORDERS)
        _choose(existing, "existing", EXISTING)
        _check(suffix, "suffix", "texts such as '.csv'", all(_is_text(one) for one in suffixes))
        _check(pattern, "pattern", "a text such as '*.csv'", pattern is None or _is_text(pattern))
        _check(partition, "partition", "callable", partition is None or callable(partition))
        _check(queue_url, "queue_url", "the URL of a queue", queue_url is None or _is_url(queue_url))
        _check(endpoint_url, "endpoint_url", "an http(s) URL", endpoint_url is None or _is_url(endpoint_url))
        self.bucket, self.prefix, self.order, self.existing = bucket, prefix, order, existing
        self.suffix, self.pattern, self.partition = suffix, pattern, partition
        self.lookback_of_keys = seconds(lookback, "lookback")
        self.min_age = seconds(min_age, "min_age")
        if self.min_age > self.lookback_of_keys:
            raise ValidationError("expected min_age to be no longer than lookback, within which it is looked for")
        self.limit, self.max_requests = _count(limit, "limit"), _count(max_requests, "max_requests")
        self.queue_url, self.endpoint_url, self.region_name = queue_url, endpoint_url, region_name
        self.profile_name, self.client = profile_name, client
        session = {
            "region_name": region_name,
            "profile_name": profile_name,
            "aws_access_key_id": aws_access_key_id,
            "aws_secret_access_key": aws_secret_access_key,
            "aws_session_token": aws_session_token,
        }
        self._connections = Connections(session, endpoint_url, {"s3": client, "sqs": queue_client})
        self._filter = Filter(suffixes, pattern)
        self._notices = None if queue_url is None else Notices(self._connections, queue_url, bucket, self.limit)
        self._around: Surroundings = ALONE

    # The keys of the window are seen again, and kept known, while it holds them; so any time is long enough.
    @property
    def lookback(self) -> float:  # type: ignore[override]  # computed here, a constant elsewhere
        """Seconds for which the keys of arrivals are remembered."""
        return max(2 * self.lookback_of_keys, 14 * DAY)

    def within(self, surroundings: Surroundings) -> S3FileArrival:
        """This sensor, able to ask what it has committed."""
        copied = copy.copy(self)
        copied._around = surroundings
        return copied

    def init(self) -> dict[str, Any]:
        """The state before the first poll; with `existing="ignore"` everything is listed, and counts as seen."""
        if self._notices is not None:
            return {"of": self._of, "batch": None}
        growing = self.order == "growing"
        state = {"of": self._of, "after": ""} if growing else first_state(self._of)
        if self.existing == "trigger":
            return state
        sweep, now, last = Sweep(first_state(self._of), self.lookback_of_keys), self._now(), ""
        for page in self._pages(""):
            now = page.now or now
            for found in page.objects:
                last = found.key
                if self._takes(found):
                    sweep.meet(found)
        return {**state, "after": last} if growing else sweep.ignoring(now)

    def poll(self, state: dict[str, Any]) -> Answer:
        """What arrived since the state.

        Raises:
            PollError: the service can't be reached, or refuses.
        """
        if state.get("of") != self._of:
            # The sensor looks at something else now; what it knows of that, its arrivals tell.
            state = self.init()
        if self._notices is not None:
            return self._notices.poll(state, self._arrived, self._filter)
        return self._grown(state) if self.order == "growing" else self._swept(state)

    @property
    def _of(self) -> str:
        prefix = self.prefix if isinstance(self.prefix, str) else "(by time)"
        return f"{'queue' if self.queue_url else self.order}:{self.bucket}/{prefix}"

    def _grown(self, state: dict[str, Any]) -> Answer:
        now, after, arrivals, more = self._now(), state["after"], list[Arrival](), False
        for page in self._few_pages(after):
            if more := page is None:
                break
            now = page.now or now
            for found in page.objects:
                if self._is_young(found, now):
                    return answer(arrivals, {**state, "after": after})
                if len(arrivals) >= self.limit:
                    return answer(arrivals, {**state, "after": after}, again=True)
                after = found.key
                if self._takes(found):
                    arrivals.append(self._arrived(found))
        return answer(arrivals, {**state, "after": after}, again=more)

    def _swept(self, state: dict[str, Any]) -> Answer:
        sweep = Sweep(state, self.lookback_of_keys)
        gathering = Gathering(sweep, self._around)
        now, after = self._now(), sweep.after
        for page in self._few_pages(after):
            if page is None:
                return gathering.answer(self._arrived, sweep.cut(after), again=True)
            now = page.now or now
            for found in page.objects:
                if self._takes(found) and sweep.in_window(found.at):
                    if gathering.is_full(self.limit):
                        return gathering.answer(self._arrived, sweep.cut(after), again=True)
                    gathering.take(found, young=self._is_young(found, now))
                after = found.key
        following = sweep.end(now, watches=isinstance(self.prefix, str))
        return gathering.answer(self._arrived, following, as_before=sweep.is_as_before())

    def _pages(self, after: str) -> Iterator[Listed]:
        """The pages of all prefixes past a key."""
        what = f"bucket {self.bucket!r}"
        client = meaning(lambda: self._connections.client("s3"), what)
        for prefix in self._prefixes():
            if after <= prefix or after.startswith(prefix):
                pages = listed(client, self.bucket, prefix, after)
                yield from iter(partial(meaning, partial(next, pages, None), what), None)

    def _few_pages(self, after: str) -> Iterator[Listed | None]:
        """As many pages as one poll may ask for, then None where there are more."""
        for number, page in enumerate(self._pages(after)):
            yield page
            if page.more and number + 1 >= self.max_requests:
                break
        else:
            return
        yield None

    def _prefixes(self) -> list[str]:
        if isinstance(self.prefix, str):
            return [self.prefix]
        given = self.prefix(self._around.now())
        found = sorted({given} if isinstance(given, str) else set(given))
        return [one for one in found if not any(one != other and one.startswith(other) for other in found)]

    def _takes(self, found: Found) -> bool:
        return self._filter.takes(found.key)

    def _is_young(self, found: Found, now: float) -> bool:
        return self.min_age > 0 and now - found.at < self.min_age

    def _now(self) -> float:
        return self._around.now().timestamp()

    def _arrived(self, found: Found) -> Arrival:
        return arrival_of(found, self.partition or day_or_key)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _check(value: object, option: str, expected: str, legal: bool) -> None:
    if not legal:
        raise ValidationError(f"expected {option} to be {expected}, got: {shown(value)}", option=option)


def _choose(value: object, option: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        hint = did_you_mean(str(value), legal)
        expected = " or ".join(map(repr, legal))
        raise ValidationError(f"expected {option} to be {expected}, got: {shown(value)}{hint}", option=option)


def _count(value: object, option: str) -> int:
    legal = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    _check(value, option, "an int of at least 1", legal)
    assert isinstance(value, int)
    return value
