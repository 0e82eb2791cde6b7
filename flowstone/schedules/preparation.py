"""Accounts made ready for the store: the partition that the rule gives, and the run request that follows from it.

Whatever goes wrong here belongs to one tick: it becomes that tick's error, and the scheduler goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flowstone.core.catalog import Catalog
from flowstone.core.partitions import Partition
from flowstone.core.run import RunRequest, Source, SourceKind
from flowstone.core.run_key import schedule_key, tick_id
from flowstone.errors import FlowstoneError, storable, text_of
from flowstone.runs.requests import ResolvedRequest, resolve
from flowstone.schedules.due import Account
from flowstone.schedules.rows import ScheduleRow
from flowstone.schedules.rules import Rules, is_ready
from flowstone.zones import zone

__all__ = ["RULE_TIMEOUT", "Prepared", "evaluate", "is_inline", "prepare", "request_of"]

RULE_TIMEOUT = 5.0
"""Seconds that a user's partition rule may take."""

_LONGEST_ERROR = 2000  # characters


@dataclass(frozen=True, slots=True)
class Prepared:
    """An account with the request for its run, when it fires; or with the error that its partition rule ended in."""

    account: Account
    request: ResolvedRequest | None = None
    error: str | None = None

    @property
    def partition(self) -> str | None:
        """The stored form of the partition, when there is a request."""
        return None if self.request is None else self.request.partition


def is_inline(schedule: ScheduleRow, rules: Rules) -> bool:
    """Whether the partition rule is one of ours, or can't be found: then there is no user code to call."""
    try:
        rule = rules.find(schedule.name, schedule.partition_rule)
    except FlowstoneError:
        return True
    return rule is None or is_ready(rule)


def evaluate(catalog: Catalog, schedule: ScheduleRow, rules: Rules, moment: datetime) -> Partition:
    """The partition of the tick at `moment`: what the rule says for it in the schedule's zone.

    Raises:
        FlowstoneError: the target has none for it, or the rule can't be found.
        BaseException: whatever a user's rule raises.
    """
    rule = rules.find(schedule.name, schedule.partition_rule)
    if rule is None:
        return catalog.default_partition(schedule.target, moment, schedule.timezone)
    return rule(moment.astimezone(zone(schedule.timezone)))


def prepare(catalog: Catalog, schedule: ScheduleRow, account: Account, partition: Callable[[], Partition]) -> Prepared:
    """The account with its request when it fires, for the partition that is computed; or with the error of either."""
    if not account.fires:
        return Prepared(account)
    try:
        return Prepared(account, request_of(catalog, schedule, account.first, partition()))
    except BaseException as error:  # noqa: B036 - a user's rule may raise anything, and its tick is where that belongs
        return Prepared(account, error=_text(error))


def request_of(catalog: Catalog, schedule: ScheduleRow, moment: datetime, partition: Partition) -> ResolvedRequest:
    """The request of the tick at `moment`.

    Raises:
        AssetNotFound: the target is unknown.
        PartitionError: the partition is of no legal type, or the target does not hold it.
    """
    epoch = int(moment.timestamp())
    source = Source(SourceKind.SCHEDULE, schedule.name, tick_id(schedule.name, epoch))
    request = RunRequest(schedule.target, partition)
    key = schedule_key(schedule.name, epoch)
    return resolve(catalog, request, default_key=key, source=source, dedupe=schedule.dedupe)


def _text(error: BaseException) -> str:
    """An error as rows hold it: its type, then its message."""
    kind = error.type if isinstance(error, FlowstoneError) else type(error).__name__
    return storable(f"{kind}: {text_of(error)}"[:_LONGEST_ERROR])
