"""What a model is told of a request for approval that did not end with its call's own reply.

Each way to end has its own text, and says whether asking again can help: a model that reads "the
user denied it" where nobody answered gives up, or tells its user what is not true.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from thoughtgate_proxy.core.approval import Approval, Ending, State, VoteValue
from thoughtgate_proxy.mcp import answers
from thoughtgate_proxy.mcp.answers import Addressee

# JSON-RPC error codes of our own, beside those of `mcp.answers`.
CANCELLED, PENDING, RULES_CHANGED = 40305, 40306, 40307
TOO_MANY_PENDING, FORGOTTEN = 42902, 41001
UNKNOWN_OUTCOME, NO_APPROVER, STORE_BROKEN, RESTARTING = 50203, 50302, 50303, 50304
# What an approver wrote, or a server or Slack said, is shown so far.
_MOST_REASON: Final = 1000
_ANEW: Final = "same call asks the approvers anew."


@dataclass(frozen=True, slots=True)
class ApprovalText:
    """What a model reads, the code of the error that says the same, and facts for a program."""

    code: int
    text: str
    facts: dict[str, Any]

    def response(self, to: Addressee) -> bytes:
        """The JSON-RPC response to `to` that says it."""
        return answers.text_response(to, self.code, self.text, self.facts)


def ended(approval: Approval, subject: str) -> ApprovalText:
    """How `approval` ended, without a result that could be given; `subject` names its call."""
    if approval.ending is None:
        raise ValueError(f"`{approval.id}` has not ended: it is {approval.state}")
    code, text = _ended(approval, approval.ending, subject)
    return ApprovalText(code, text, _facts(approval))


def _ended(approval: Approval, ending: Ending, subject: str) -> tuple[int, str]:
    match ending:
        case Ending.REJECTED:
            return answers.REJECTED, _rejected(approval, subject)
        case Ending.TIMED_OUT:
            return answers.TIMED_OUT, (
                f"{subject} was not sent: no approver answered within "
                f"{span(approval.expires - approval.opened)}. Nobody has refused it: the approvers "
                "were asked and did not answer in time. Ask again when someone can answer, or tell "
                "the user."
            )
        case Ending.NOT_USED:
            return answers.TIMED_OUT, (
                f"{subject} was approved{_by(approval)}, but nobody came for it by "
                f"{clock(_until(approval))}, and so the approval has lapsed. It was not sent. The "
                f"{_ANEW}"
            )
        case Ending.CANCELLED:
            why = f": {_quoted(approval.reason)}" if approval.reason else ""
            return CANCELLED, (
                f"The request for approval of {subject} was cancelled{why}. Nobody has refused it, "
                f"and it was not sent. The {_ANEW}"
            )
        case Ending.DISCONNECTED:
            return CANCELLED, (
                f"The request for approval of {subject} was withdrawn, since its caller had "
                f"disconnected. Nobody has refused it, and it was not sent. The {_ANEW}"
            )
        case Ending.FROZEN:
            return answers.RULE_DENIED, (
                f"{subject} was not sent: an operator has frozen every gated call "
                "(`governance.freeze`), pending and approved ones too. Asking again will not help "
                "until the operator lifts it."
            )
        case Ending.RECONFIGURED:
            return RULES_CHANGED, (
                f"{subject} was not sent: the configuration has changed since it was asked for"
                f"{_because(approval)}. Nobody has refused it. The {_ANEW}"
            )
        case Ending.RULED_OUT:
            return RULES_CHANGED, (
                f"{_if_approved(approval, subject)} was not sent: the rules have changed "
                f"since it was asked for{_because(approval)}. Asking again will not help: do "
                "without this call, or tell the user."
            )
        case Ending.TURNED_AWAY:
            return answers.UPSTREAM_DOWN, (
                f"{subject} was approved{_by(approval)}, and its server turned it away each time "
                f"that it was sent{_because(approval)}. It was not done. Tell the user; the {_ANEW}"
            )
        case Ending.NOT_TOLD:
            return NO_APPROVER, (
                f"{subject} needs a human's approval, and the approvers cannot be reached"
                f"{_because(approval)}. Nothing was sent, and nothing is pending. Tell the user, "
                "or try again later."
            )
        case Ending.UNKNOWN:
            return UNKNOWN_OUTCOME, (
                f"{subject} was approved{_by(approval)} and sent, but the connection was cut "
                f"before the server's reply{_because(approval)}. It may or may not have "
                "happened, and it was not sent again. Find out what became of it before you ask "
                "for it again."
            )
        case Ending.DONE:
            return FORGOTTEN, (
                f"{subject} was approved{_by(approval)} and done, but its result is no longer "
                "kept, or was too large to keep. It was not done again."
            )
    assert_never(ending)


def _rejected(approval: Approval, subject: str) -> str:
    vote = next((v for v in reversed(approval.votes) if v.verdict is VoteValue.REJECT), None)
    approver = f"The approver {_short(vote.name)}" if vote is not None else "An approver"
    reason = approval.reason or (vote.reason if vote is not None else "")
    why = f", and said: {_quoted(reason)}." if reason else " and gave no reason."
    return (
        f"{approver} rejected {subject}{why} It was not sent. Do not ask for the same again: "
        "change what the approver objects to, or tell the user."
    )


def pending(approval: Approval, subject: str) -> ApprovalText:
    """The client can wait no longer, and the request for approval stands."""
    if approval.state is State.PENDING:
        state = f"{subject} is still pending: no approver has answered yet, and they have"
    else:
        state = f"{subject} was approved{_by(approval)}, and the approval is good"
    text = (
        f"{state} until {clock(_until(approval))}. Nobody has refused it. The same call, with the "
        "same arguments, joins it: nobody is asked twice."
    )
    return ApprovalText(PENDING, text, _facts(approval))


def restarting(approval: Approval, subject: str) -> ApprovalText:
    """The process is ending, and the request for approval stays on disk."""
    text = (
        f"ThoughtGate is restarting. The request for approval of {subject} stands until "
        f"{clock(_until(approval))}: the same call, with the same arguments, joins it, in a few "
        "seconds from now."
    )
    return ApprovalText(RESTARTING, text, _facts(approval))


def not_sent(approval: Approval, subject: str, reason: str) -> ApprovalText:
    """An approved call was not sent, or turned away; the approval still counts."""
    text = (
        f"{subject} was approved{_by(approval)}, but it was not done: {_short(reason)}. The "
        f"approval counts until {clock(_until(approval))}: the same call, with the same arguments, "
        "uses it."
    )
    return ApprovalText(answers.UPSTREAM_DOWN, text, _facts(approval))


def not_asked(subject: str, kind: str, reason: str, retry_after: float | None) -> ApprovalText:
    """The approvers were not asked; the arguments are those of `approvals.service.OpenRefused`."""
    facts: dict[str, Any] = {"outcome": "deny", "gate": "approval", "reason": reason, "kind": kind}
    beginning = f"{subject} needs a human's approval, and nobody was asked"
    match kind:
        case "pending_approvals":
            code, rest = TOO_MANY_PENDING, "Wait until some of the pending requests are decided."
        case "workflow_limit":
            code = answers.LIMITED
            rest = "Tell the user, or ask again later."
            if retry_after is not None:
                rest = f"It can be asked again in {span(retry_after)}."
                facts["retry_after"] = round(retry_after, 3)
        case "store":
            code, rest = STORE_BROKEN, "Tell the user: an operator must look at the state volume."
        case "closing":
            code, rest = RESTARTING, "ThoughtGate is restarting: ask again in a few seconds."
        case _:
            code, rest = NO_APPROVER, "Tell the user, or try again later."
    return ApprovalText(code, f"{beginning}: {_short(reason)}. Nothing was sent. {rest}", facts)


def _facts(approval: Approval) -> dict[str, Any]:
    """What a program may want to know of `approval`."""
    asked = approval.asked
    facts: dict[str, Any] = {
        "outcome": "deny" if approval.state.final else "hold",
        "gate": "approval",
        "reason": approval.reason or asked.reason,
        "rule": asked.rule,
        "match": asked.match,
        "config": asked.config,
        "workflow": asked.workflow,
        "approval": approval.id,
        "state": approval.state.value,
        "expires": iso(approval.expires),
        "correlation_id": asked.correlation,
    }
    if approval.ending is not None:
        facts["ending"] = approval.ending.value
    if asked.policies:
        facts["policies"] = asked.policies
    if approval.approvers:
        facts["approved_by"] = approval.approvers
    if approval.valid_until is not None:
        facts["valid_until"] = iso(approval.valid_until)
    return facts


def clock(at: float) -> str:
    """A time of day for a model: `14:05 UTC`."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M} UTC"


def iso(at: float) -> str:
    """A time as MCP writes it: ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(seconds: float) -> str:
    """A duration as it is written in a configuration: `10m`, `1h 30m`, `45s`."""
    rest = max(1, round(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts)


def _until(approval: Approval) -> float:
    return approval.expires if approval.valid_until is None else approval.valid_until


def _by(approval: Approval) -> str:
    return f" (by {', '.join(approval.approvers)})" if approval.approvers else ""


def _if_approved(approval: Approval, subject: str) -> str:
    if approval.valid_until is None:
        return subject
    return f"{subject} was approved{_by(approval)}, but"


def _because(approval: Approval) -> str:
    return f": {_short(approval.reason)}" if approval.reason else ""


def _quoted(text: str) -> str:
    return f"«{_short(text)}»"


def _short(text: str) -> str:
    kept = " ".join(text.split())
    return kept if len(kept) <= _MOST_REASON else f"{kept[:_MOST_REASON]}…"
