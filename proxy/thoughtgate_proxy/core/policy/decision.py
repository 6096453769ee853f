"""What was decided about one call, and why."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from thoughtgate_proxy.core.approval import Ending


class Outcome(StrEnum):
    """What becomes of a call."""

    FORWARD = "forward"
    DENY = "deny"
    HOLD = "hold"


class Gate(StrEnum):
    """The gate at which a decision fell, in the order in which they are asked."""

    NONE = "none"
    FREEZE = "freeze"
    VISIBILITY = "visibility"
    RULES = "rules"
    LIMIT = "limit"
    CEDAR = "cedar"
    APPROVAL = "approval"


@dataclass(frozen=True, slots=True)
class Decision:
    """One gate's word on one target, with its reasons.

    `reason` is a sentence for the model and the log; `rule` counts from 0 and is None where no rule
    matched and the default applied; `policies` are the ids of the Cedar policies that determined
    the answer, `errors` what Cedar reported; `retry_after` is in seconds; `config` is the digest of
    the configuration that decided.
    """

    outcome: Outcome
    gate: Gate
    reason: str
    config: str
    rule: int | None = None
    match: str | None = None
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    workflow: str | None = None
    retry_after: float | None = None
    observed: bool = False
    """`governance.mode` is `observe`: the outcome is told and counted, and the call goes on."""

    @property
    def goes_on(self) -> bool:
        """Whether the call may be sent to its server now."""
        return self.outcome is Outcome.FORWARD or self.observed

    def facts(self) -> dict[str, Any]:
        """The decision as JSON values, for an answer and for the log."""
        facts: dict[str, Any] = {
            "outcome": self.outcome.value,
            "gate": self.gate.value,
            "reason": self.reason,
            "rule": self.rule,
            "match": self.match,
            "config": self.config,
        }
        if self.policies:
            facts["policies"] = self.policies
        if self.errors:
            facts["errors"] = self.errors
        if self.retry_after is not None:
            facts["retry_after"] = round(self.retry_after, 3)
        return facts


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an approval does not count under the configuration in force."""

    ending: Ending
    reason: str


def settle_holds(decisions: tuple[Decision, ...], *, alone: bool) -> tuple[Decision, ...]:
    """The same decisions, each hold that cannot be waited for being a denial.

    Those of a batch's member cannot (`alone` is false), nor those for different approvers.
    """
    held = {d.workflow for d in decisions if d.outcome is Outcome.HOLD and not d.observed}
    if held and not alone:
        why = "which no batch can wait for: send it alone"
    elif len(held) > 1:
        why = "and other approvers for other parts of the request: ask for each part alone"
    else:
        return decisions
    return tuple([
        one if one.goes_on or one.outcome is Outcome.DENY
        else replace(one, outcome=Outcome.DENY, gate=Gate.APPROVAL, reason=f"{one.reason}, {why}")
        for one in decisions
    ])  # fmt: skip


def first_stopped(decisions: tuple[Decision, ...]) -> Decision | None:
    """Why a request does not go on: a denial wins over a hold; None if it does."""
    stopped = None
    for decision in decisions:
        if not decision.goes_on:
            if decision.outcome is Outcome.DENY:
                return decision
            stopped = stopped or decision
    return stopped
