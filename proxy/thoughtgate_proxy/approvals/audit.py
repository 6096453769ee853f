"""What is written down of approvals: one `type: audit` line a step, and the counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thoughtgate_proxy.core import safe_text
from thoughtgate_proxy.core.approval import Approval, Asked, State, Vote
from thoughtgate_proxy.core.config.values import AuditArguments, Workflow
from thoughtgate_proxy.telemetry.log import Level
from thoughtgate_proxy.telemetry.record import Record


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The audit lines and metrics of approvals, in a process' log."""

    record: Record

    def opened(
        self, approval: Approval, arguments: AuditArguments, workflow: Workflow | None
    ) -> None:
        """A new one; the only line that has the arguments, as `audit.arguments` says."""
        facts: dict[str, Any] = {"expires": approval.expires, "required": approval.required}
        if arguments is AuditArguments.DIGEST:
            facts["arguments_digest"] = self.record.arguments_digest(approval.call.body)
        else:
            redact = workflow.redact_fields if workflow is not None else ()
            hidden = redact if arguments is AuditArguments.REDACTED else ()
            seen = safe_text.call(approval.call.body, hidden, compact=True)
            facts["arguments"] = seen.arguments
            if seen.others:
                facts["params"] = seen.others
            if seen.redacted:
                facts["redacted"] = seen.redacted
        self._line("opened", approval, **facts)
        self._count(approval.asked, "asked")

    def answered(
        self, id: str, responses: bytes, arguments: AuditArguments, redact: Sequence[str]
    ) -> None:
        """What a client answered to the server of the approved call `id`: its `inputResponses`.

        It is shown as arguments are. The paths of `redact` are looked for in all of it, in each
        response, and in each response's `content`.
        """
        facts: dict[str, Any] = {}
        if arguments is AuditArguments.DIGEST:
            facts["input_responses_digest"] = self.record.arguments_digest(responses)
        else:
            hidden = redact if arguments is AuditArguments.REDACTED else ()
            seen = safe_text.responses(responses, hidden)
            facts["input_responses"] = seen.arguments
            if seen.redacted:
                facts["redacted"] = seen.redacted
        self.record.log.always("approval", type="audit", step="answers", approval=id, **facts)

    def stepped(self, old: Approval, new: Approval) -> None:
        """It is in another state."""
        facts: dict[str, Any] = {"from": old.state.value}
        if new.ending is not None:
            facts["ending"] = new.ending.value
        if new.reason:
            facts["reason"] = new.reason
        self._line(new.state.value, new, **facts)
        if (old.state, new.state) != (State.SENDING, State.APPROVED):  # not approved once more
            self._count(new.asked, new.state.value)
        if old.state is State.PENDING:
            at = new.decided or new.ended or old.opened
            self.record.metrics.approval_seconds.observe(max(0.0, at - old.opened))

    def voted(self, approval: Approval, vote: Vote) -> None:
        """An approver voted, whether or not that settles it."""
        facts = {"approver": vote.approver, "name": vote.name, "verdict": vote.verdict.value}
        if vote.reason:
            facts["reason"] = vote.reason
        self._line("vote", approval, **facts)

    def noted(self, what: str, approval: Approval, **facts: Any) -> None:
        """Any other step."""
        self._line(what, approval, **facts)

    def pending(self, count: int) -> None:
        """So many wait for a human now."""
        self.record.metrics.approvals_pending = count

    def store_failed(self, reason: str) -> None:
        """Something could not be kept."""
        self.record.log.event("approvals cannot be kept", Level.ERROR, reason=reason)
        self.record.metrics.errors.inc("approvals_store", "")

    def damaged(self, moved_to: Path) -> None:
        """The file of an earlier process could not be read."""
        self.record.log.event(
            "the file of approvals was damaged: what was pending in it is lost, and the same calls "
            "have to ask again", Level.ERROR, moved_to=str(moved_to),
        )  # fmt: skip
        self.record.metrics.errors.inc("approvals_damaged", "")

    def refused(self, asked: Asked, kind: str, reason: str) -> None:
        """No human was asked."""
        facts = {"workflow": asked.workflow, "kind": kind, "reason": reason}
        self.record.log.always(
            "approval refused", Level.WARNING, type="audit", step="refused",
            correlation_id=asked.correlation, **facts,
        )  # fmt: skip
        self._count(asked, "refused")

    def _count(self, asked: Asked, outcome: str) -> None:
        self.record.metrics.approval_requests.inc(asked.adapter, outcome)

    def _line(self, step: str, approval: Approval, **facts: Any) -> None:
        call, asked = approval.call, approval.asked
        line: dict[str, Any] = {
            "type": "audit",
            "step": step,
            "approval": approval.id,
            "state": approval.state.value,
            "principal": call.principal,
            "namespace": asked.namespace,
            "pod": asked.pod,
            "workflow": asked.workflow,
            "adapter": asked.adapter,
            "method": call.method,
            "source": call.source,
            "kind": call.kind.value,
            "name": call.name,
            "call_digest": call.digest,
            "correlation_id": asked.correlation,
            "config": asked.config,
        }
        if asked.traceparent is not None:
            line["traceparent"] = asked.traceparent
        # What comes in keeps its own name: a name of an approver must not hide the call's.
        for key, value in facts.items():
            line[key if key not in line else f"vote_{key}"] = value
        self.record.log.always("approval", **line)
