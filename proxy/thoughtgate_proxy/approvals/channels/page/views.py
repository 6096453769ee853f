"""How an approval looks as JSON values, for the page, its API and the shell."""

from typing import Any, Final

from thoughtgate_proxy.core import safe_text
from thoughtgate_proxy.core.approval import Approval, State, VoteValue
from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Workflow

_PREVIEWED: Final = 1 << 14
_PREVIEW: Final = 160
UNKNOWN_REDACTIONS: Final = (
    "not shown: the workflow is not in the configuration any more, so nobody knows what of it "
    "should be redacted"
)


def word_of(approval: Approval, name: str) -> VoteValue | None:
    """What that approver said last."""
    return next((vote.verdict for vote in approval.votes if vote.approver == name), None)


def summary(approval: Approval) -> dict[str, Any]:
    """Everything but the arguments; texts of strangers with what cannot be seen written out.

    Times are Unix time in seconds; `deadline` is when the state as it is ends by itself.
    """
    call, asked = approval.call, approval.asked
    given = len(approval.approvers)
    return {
        "id": approval.id,
        "digest": call.digest,
        "state": approval.state.value,
        "final": approval.state.final,
        "principal": safe_text.text(call.principal),
        "namespace": _text(asked.namespace),
        "pod": _text(asked.pod),
        "source": call.source,
        "method": call.method,
        "kind": call.kind.value,
        "name": safe_text.text(call.name),
        "description": _lines(asked.description),
        "workflow": asked.workflow,
        "gate": asked.gate,
        "why": safe_text.text(asked.reason),
        "rule": asked.rule,
        "match": asked.match,
        "policies": list(asked.policies),
        "config": asked.config,
        "correlation_id": asked.correlation,
        "traceparent": asked.traceparent,
        "opened": approval.opened,
        "deadline": _deadline(approval),
        "decided": approval.decided,
        "ended": approval.ended,
        "ending": None if approval.ending is None else approval.ending.value,
        "outcome": safe_text.text(approval.reason),
        "required": approval.required,
        "missing": max(0, approval.required - given) if approval.state is State.PENDING else 0,
        "votes": [
            {
                "name": vote.name,
                "verdict": vote.verdict.value,
                "at": vote.at,
                "reason": safe_text.text(vote.reason),
            }
            for vote in approval.votes
        ],
        "caller_left": approval.caller_left,
        "size": len(call.body),
    }


def _text(text: str | None) -> str | None:
    return None if text is None else safe_text.text(text)


def _lines(text: str | None) -> str | None:
    """Several lines stay several, without empty ones: they are told as what a stranger says."""
    if text is None:
        return None
    return "\n".join(safe_text.text(line) for line in text.splitlines() if line.strip())


def _deadline(approval: Approval) -> float | None:
    if approval.state is State.PENDING:
        return approval.expires
    return approval.valid_until if approval.state is State.APPROVED else None


def exact_call(approval: Approval, workflow: Workflow | None) -> dict[str, Any]:
    """The call as it will be sent: its arguments, and what else of its params counts.

    Both are texts, empty where there is nothing; `redacted` are the paths that are not shown.
    """
    if workflow is None:
        return {"arguments": UNKNOWN_REDACTIONS, "others": "", "redacted": []}
    call = safe_text.call(approval.call.body, workflow.redact_fields)
    return {"arguments": call.arguments, "others": call.others, "redacted": list(call.redacted)}


class Previews:
    """The first words of each call's arguments, for a list; made once."""

    def __init__(self) -> None:
        # As many as a view lists, twice over.
        self._made = BoundedCache[tuple[str, tuple[str, ...]], str](most=1000, longest=_PREVIEW)

    def of(self, approval: Approval, workflow: Workflow | None) -> str:
        """One line; empty where there are no arguments, or too many."""
        if workflow is None or len(approval.call.body) > _PREVIEWED:
            return ""
        key = approval.id, workflow.redact_fields
        preview = self._made.get(key)
        if preview is None:
            text = safe_text.call(approval.call.body, workflow.redact_fields).arguments
            line = " ".join(text.split())
            inner = line[1:-1].strip() if line.startswith("{") else line
            preview = inner if len(inner) <= _PREVIEW else inner[: _PREVIEW - 1] + "…"
            self._made.put(key, preview, len(preview))
        return preview
