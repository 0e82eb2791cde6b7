"""The sentences that `why` answers with: tables over what rows say of themselves."""

from __future__ import annotations

from collections.abc import Mapping

from flowstone.core.approval import ApprovalStatus, OnTimeout
from flowstone.core.run import MaterializationStatus, RunStatus
from flowstone.core.staleness import Staleness
from flowstone.schedules.policies import Reason, TickStatus
from flowstone.sensors.rows import DeliveryStatus, SkipReason

__all__ = [
    "APPROVALS",
    "ASSETS",
    "DEADLINES",
    "DELIVERIES",
    "MATERIALIZATIONS",
    "RUNS",
    "SKIPS",
    "TICKS",
]

TICKS: Mapping[tuple[TickStatus, Reason | None], str] = {
    (TickStatus.TRIGGERED, None): "{what} fired, and asked for run {run_id}.",
    (TickStatus.MISSED, Reason.LATE): "{what} {was} missed: {it} {was} found after {its} time, and misfire='skip' "
    "runs nothing that is late.",
    (TickStatus.MISSED, Reason.SUPERSEDED): "{what} {was} missed: {it} {was} found when a newer one was due, "
    "and misfire='latest' runs the newest.",
    (TickStatus.MISSED, Reason.MAX_COUNT): "{what} {was} missed: {it} {was} found late, behind more newer ones "
    "than the misfire policy's max_count runs.",
    (TickStatus.MISSED, Reason.MAX_AGE): "{what} {was} missed: {it} {was} found later than the misfire policy's "
    "max_age lets one run.",
    (TickStatus.MISSED, Reason.EDITED): "{what} {was} missed: {it} {was} due when the timing of schedule "
    "{schedule} was edited, and an edited schedule fires nothing for the past.",
    (TickStatus.SKIPPED, Reason.PAUSED): "{what} {was} skipped: schedule {schedule} was paused.",
    (TickStatus.SUPPRESSED, Reason.OVERLAP): "{what} {was} suppressed: run {blocked_by} of schedule {schedule} was "
    "unfinished, and the overlap policy lets no other one begin.",
    (TickStatus.FAILED, Reason.PARTITION): "{what} failed: there is no partition for it ({error}).",
    (TickStatus.FAILED, Reason.CONFLICT): "{what} failed: its run key stands for another run ({error}).",
}
SKIPS: Mapping[str | None, str] = {
    SkipReason.PAUSED: "sensor {sensor} was paused",
    SkipReason.BACKPRESSURE: "more runs were unfinished than max_queue lets wait",
    SkipReason.ABANDONED: "as many calls of sensor {sensor} as max_abandoned lets be were given up, and still went on",
}
MATERIALIZATIONS: Mapping[MaterializationStatus, str] = {
    MaterializationStatus.PENDING: "{what} waits for its turn, or for what it depends on.",
    MaterializationStatus.RUNNING: "{what} is being made: attempt {attempt} began at {began}.",
    MaterializationStatus.WAITING_APPROVAL: "{what} waits for people to decide.",
    MaterializationStatus.SUCCESS: "{what} was made by attempt {attempt}, in {duration:g} s.",
    MaterializationStatus.FAILED: "{what} failed in attempt {attempt}: {error}.",
    MaterializationStatus.SKIPPED: "{what} was skipped: {reason}.",
    MaterializationStatus.CANCELLED: "{what} was cancelled: {reason}.",
}
RUNS: Mapping[RunStatus, str] = {
    RunStatus.QUEUED: "{what} is queued: it waits for its turn.",
    RunStatus.RUNNING: "{what} is in progress since {began}.",
    RunStatus.WAITING_APPROVAL: "{what} waits for people to decide, and holds no slot.",
    RunStatus.SUCCESS: "{what} ended well, {duration:g} s after it began.",
    RunStatus.FAILED: "{what} failed: {error}.",
    RunStatus.CANCELLED: "{what} was cancelled: {reason}.",
}
ASSETS: Mapping[Staleness | None, str] = {
    None: "{what} is up to date: {made}.",
    Staleness.NEVER_MATERIALIZED: "{what} is stale: {never}.",
    Staleness.CODE_VERSION_CHANGED: "{what} is stale: its code version is {version} now, and {made} with {before}.",
    Staleness.UPSTREAM_NEVER_MATERIALIZED: "{what} is stale: {upstream}; {made}.",
    Staleness.UPSTREAM_NEWER: "{what} is stale: {upstream} has another value than the one that it was made from; "
    "{made}.",
    Staleness.FRESHNESS_PASSED: "{what} is stale: {made}, longer than {freshness} ago.",
}
DELIVERIES: Mapping[DeliveryStatus, str] = {
    DeliveryStatus.PENDING: "{what} is due at {due}.",
    DeliveryStatus.DELIVERED: "{what} was delivered, by attempt {attempts}.",
    DeliveryStatus.FAILED: "{what} is parked after {attempts} attempts: {error}.",
}
APPROVALS: Mapping[ApprovalStatus, str] = {
    ApprovalStatus.PENDING: "{what} waits for people to decide, since {asked}: {message}{deadline}.",
    ApprovalStatus.APPROVED: "{what} was approved by {by} at {decided}{because}.",
    ApprovalStatus.REJECTED: "{what} was rejected by {by} at {decided}{because}.",
    ApprovalStatus.MODIFIED: "{what} was approved with something to heed by {by} at {decided}{because}.",
    ApprovalStatus.EXPIRED: "{what} expired at {decided}{because}.",
    ApprovalStatus.WITHDRAWN: "{what} was withdrawn at {decided}, since its run was cancelled{because}.",
}
DEADLINES: Mapping[OnTimeout, str] = {
    OnTimeout.EXPIRE: "it expires",
    OnTimeout.APPROVE: "it is approved",
    OnTimeout.REJECT: "it is rejected",
    OnTimeout.ESCALATE: "it goes on to others, with another deadline",
}
