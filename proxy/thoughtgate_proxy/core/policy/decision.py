"""What was decided about one call, and why."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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
