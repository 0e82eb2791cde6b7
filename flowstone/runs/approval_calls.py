"""Calls about approvals: what waits for people, and what they say of it. From any thread, and beside a runtime."""

from __future__ import annotations

import builtins
from typing import Any

from flowstone.approvals import store
from flowstone.approvals.approval import Approval
from flowstone.approvals.verdicts import Verdict
from flowstone.audit.who import because, who
from flowstone.core.approval import ApprovalStatus, as_json
from flowstone.errors import ApprovalNotFound, StoreUnavailable
from flowstone.failpoints import failpoint
from flowstone.runs import approving
from flowstone.runs.reminding import look_at_deadlines, tell_of_slots
from flowstone.runs.services import Services

__all__ = ["Approvals"]


class Approvals:
    """The group of calls `runtime.approvals`.

    Each decision names who makes it (`by`, else the user of the operating system), and why. An approval is decided
    once: whoever comes later is refused, with the first decision named.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def list_pending(self) -> builtins.list[Approval]:
        """What waits for a decision, the oldest question first."""
        return list(self._services.database.read(store.pending))

    def get(self, id: str) -> Approval:
        """One approval, whatever its state.

        Raises:
            ApprovalNotFound: there is no such approval.
        """
        found = self._services.database.read(lambda connection: store.find(connection, id))
        if found is None:
            raise ApprovalNotFound.named(id)
        return found

    def approve(self, id: str, *, by: str | None = None, reason: str | None = None) -> Approval:
        """Let the asset go on: its function is called again, with `context.approval`.

        Raises:
            ApprovalNotFound: there is no such approval.
            StaleState: it was decided before; names the first decision.
        """
        return self._say(id, ApprovalStatus.APPROVED, by, reason)

    def reject(self, id: str, *, by: str | None = None, reason: str | None = None) -> Approval:
        """Let the asset fail with `ApprovalRejected`.

        Raises:
            ApprovalNotFound: there is no such approval.
            StaleState: it was decided before; names the first decision.
        """
        return self._say(id, ApprovalStatus.REJECTED, by, reason)

    def modify(self, id: str, *, payload: Any, by: str | None = None, reason: str | None = None) -> Approval:
        """Let the asset go on with something to heed: `context.approval.payload`, which is JSON.

        Raises:
            ApprovalNotFound: there is no such approval.
            StaleState: it was decided before; names the first decision.
            ValidationError: the payload is no JSON.
        """
        return self._say(id, ApprovalStatus.MODIFIED, by, reason, as_json("payload", payload))

    def escalate(self, id: str, *, by: str | None = None, reason: str | None = None) -> Approval:
        """Pass the question on: no decision, but an event, and a deadline as far away as the first one was.

        Raises:
            ApprovalNotFound: there is no such approval.
            StaleState: it was decided before; names the decision.
        """
        return self._say(id, ApprovalStatus.PENDING, by, reason)

    def _say(
        self, id: str, status: ApprovalStatus, by: str | None, reason: str | None, payload: Any = None
    ) -> Approval:
        services = self._services
        verdict = Verdict(status=status, by=who(by), reason=because(reason), payload=payload)
        try:
            decided = services.database.transact(
                lambda connection: approving.decide(
                    connection, services.catalog.graph, id, verdict, services.clock.now()
                )
            )
        except StoreUnavailable:
            # It may be committed all the same, and who decided may never ask again.
            services.waiters.stir()
            tell_of_slots(services)
            raise
        failpoint("approval.after_decision")
        approving.after_decision(services, decided)
        look_at_deadlines(services)
        if decided.refused is not None:
            raise decided.refused
        return decided.approval
