"""What would become of a message, told gate by gate.

The gates themselves decide, as they do in the proxy; here their decision is only put in words, with
the lines of the files that it comes from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from thoughtgate_proxy.core.config.cedar import CedarPolicies
from thoughtgate_proxy.core.config.mistakes import Place
from thoughtgate_proxy.core.config.scalars import written_duration
from thoughtgate_proxy.core.config.values import Action, ExposeMode, Kind, Source, Workflow
from thoughtgate_proxy.core.policy.decision import Decision, Gate, Outcome
from thoughtgate_proxy.core.policy.engine import PolicyEngine, arguments_of
from thoughtgate_proxy.core.policy.rules import Applied, Conflict, Matching, Rules
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.message import Batch, Malformed, Request, Target
from thoughtgate_proxy.core.protocol.methods import LISTINGS, unknown


class ExplainedOutcome(StrEnum):
    """What one gate said."""

    PASSED = "passed"
    REFUSED = "refused"
    ASKS = "asks"
    NOT_ASKED = "not asked"
    # Of a rule's conditions.
    HOLDS = "holds"
    HOLDS_NOT = "does not"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class ExplanationStep:
    """One gate's part: its verdict, a line for people, and where that is written (`FILE:LINE`)."""

    gate: str
    verdict: ExplainedOutcome
    text: str = ""
    at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome with its reason, and the way to it; `decision` is None where no gate was asked.

    `outcome` is what would happen. Where `governance.mode` is `observe` that is FORWARD whatever
    `decision` says.
    """

    outcome: Outcome
    reason: str
    steps: tuple[ExplanationStep, ...] = ()
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains messages to one source of a gatekeeper's configuration.

    `lines` says for each place of the configuration where it is written, as `FILE:LINE`.
    """

    gate: PolicyEngine
    source: Source
    policies: CedarPolicies
    lines: Mapping[Place, str]

    def explain(self, body: bytes) -> Explanation:
        """What would become of the one message in `body`, the bytes of a POST."""
        limits = self.gate.config.limits
        try:
            read = message.read(
                body,
                max_batch=limits.batch,
                max_depth=limits.json_depth,
                max_values=limits.json_values,
            )
        except Malformed as error:
            refused = ExplanationStep(
                "message", ExplainedOutcome.REFUSED, "it has no single reading"
            )
            return Explanation(Outcome.DENY, error.reason, (refused,))
        if isinstance(read, Batch | message.Response):
            raise TypeError("a message that asks for something is explained, one at a time")
        if (why := unknown(read.method, self.source.passthrough_methods)) is not None:
            return Explanation(
                Outcome.DENY, why, (ExplanationStep("method", ExplainedOutcome.REFUSED, "unknown"),)
            )
        if not isinstance(read, Request) or not read.targets:
            passed = ExplanationStep("method", ExplainedOutcome.PASSED, "not gated")
            return Explanation(Outcome.FORWARD, self._ungated(read.method), (passed,))
        if len(read.targets) > 1:
            raise TypeError("a message with one target is explained")
        (target,) = read.targets
        (decision,) = self.gate.judge(self.source, read, 0.0)
        steps = tuple(self._steps(read, target, decision))
        outcome, reason = decision.outcome, decision.reason
        if decision.observed:
            then = "it would be denied" if outcome is Outcome.DENY else "a human would be asked"
            reason = f"`governance.mode` is `observe`; in `enforce` {then}: {reason}"
            outcome = Outcome.FORWARD
        elif outcome is Outcome.HOLD and decision.workflow is None:
            outcome, reason = Outcome.DENY, f"{reason}, and there is no workflow"
        return Explanation(outcome, reason, steps, decision)

    def _ungated(self, method: str) -> str:
        if method in LISTINGS:
            return f"`{method}` is not gated; tools that `expose` hides are taken out of the reply"
        return f"`{method}` is not gated"

    def _steps(self, read: Request, target: Target, decision: Decision) -> list[ExplanationStep]:
        steps = [self._visibility(target, decision)]
        if decision.gate is Gate.FREEZE:
            at = self._at("governance", "freeze")
            steps.append(ExplanationStep("freeze", ExplainedOutcome.REFUSED, decision.reason, at))
        asked = decision.gate not in (Gate.VISIBILITY, Gate.FREEZE)
        if asked:
            matching = Rules(self.gate.config.governance, self.source.id).matching(
                target.kind, target.name
            )
            if isinstance(matching, Conflict):
                at = (*self._rule(matching.raw), *self._rule(matching.other))
                refused = ExplainedOutcome.REFUSED
                steps.append(ExplanationStep("rules", refused, decision.reason, at))
            else:
                steps += self._rules(matching, arguments_of(read), decision)
        else:
            steps.append(ExplanationStep("rules", ExplainedOutcome.NOT_ASKED))
        steps.append(self._cedar(decision))
        steps.append(self._approval(decision))
        return steps

    def _visibility(self, target: Target, decision: Decision) -> ExplanationStep:
        if target.kind is not Kind.TOOL:
            return ExplanationStep(
                "visibility", ExplainedOutcome.NOT_ASKED, f"a {target.kind.value} is never hidden"
            )
        number = self.gate.config.sources.index(self.source)
        mode = self.source.expose.mode
        if decision.gate is Gate.VISIBILITY:
            verdict, text = (
                ExplainedOutcome.REFUSED,
                f"the `{mode.value}` of the source hides the tool",
            )
        elif mode is ExposeMode.ALL:
            verdict, text = ExplainedOutcome.PASSED, "the source shows every tool"
        else:
            verdict, text = (
                ExplainedOutcome.PASSED,
                f"the `{mode.value}` of the source shows the tool",
            )
        return ExplanationStep("visibility", verdict, text, self._at("sources", number, "expose"))

    def _rules(
        self, matching: Matching, arguments: Mapping[str, Any], decision: Decision
    ) -> list[ExplanationStep]:
        steps: list[ExplanationStep] = []
        for applied in matching:
            if applied.when is None:
                break
            if applied.when.impostor(arguments):
                at = self._at("governance", "rules", applied.number or 0, "when")
                refused = ExplainedOutcome.REFUSED
                return [*steps, ExplanationStep("rules", refused, decision.reason, at)]
            settled = applied.when.settle(arguments)
            text = f"`governance.rules[{applied.number}]`, `{applied.rule and applied.rule.match}`"
            text += f": {settled.why}" if settled.why else ""
            at = self._at("governance", "rules", applied.number or 0, "when")
            steps.append(ExplanationStep("when", _SETTLED[settled.holds], text, at))
            if settled.holds:
                break
        stands = next(applied for applied in matching if applied.number == decision.rule)
        return [*steps, *self._stands(stands, decision)]

    def _stands(self, applied: Applied, decision: Decision) -> list[ExplanationStep]:
        """The rule whose answer stands, and its limit."""
        rules = len(self.gate.config.governance.rules)
        if applied.rule is None:
            none = f"none of {rules} applies" if rules else "there are none"
            text = f"{none}, so the default: {applied.action.value}"
        else:
            where = f"`governance.rules[{applied.number}]` of {rules}"
            text = f"{where}, `{applied.rule.match}`: {applied.action.value}"
        steps = [
            ExplanationStep("rules", _VERDICTS[applied.action], text, self._rule(applied.number))
        ]
        if applied.rule is not None and applied.rule.limit and applied.action is not Action.DENY:
            limit = applied.rule.limit
            text = f"{limit.count} calls in {written_duration(limit.seconds)}; this is the first"
            at = self._at("governance", "rules", applied.number or 0, "limit")
            refused = decision.gate is Gate.LIMIT
            steps.append(
                ExplanationStep(
                    "limit",
                    ExplainedOutcome.REFUSED if refused else ExplainedOutcome.PASSED,
                    text,
                    at,
                )
            )
        return steps

    def _cedar(self, decision: Decision) -> ExplanationStep:
        if decision.gate is not Gate.CEDAR:
            return ExplanationStep("cedar", ExplainedOutcome.NOT_ASKED)
        verdict = {
            Outcome.FORWARD: ExplainedOutcome.PASSED,
            Outcome.HOLD: ExplainedOutcome.ASKS,
            Outcome.DENY: ExplainedOutcome.REFUSED,
        }[decision.outcome]
        at = tuple(
            f"{policy.file}:{policy.line}"
            for policy in self.policies.policies
            if _had_a_say(policy.id, decision)
        )
        return ExplanationStep("cedar", verdict, decision.reason, at)

    def _approval(self, decision: Decision) -> ExplanationStep:
        if decision.outcome is not Outcome.HOLD:
            return ExplanationStep("approval", ExplainedOutcome.NOT_ASKED)
        name = decision.workflow
        if name is None:
            return ExplanationStep(
                "approval", ExplainedOutcome.REFUSED, "there is no workflow", self._at("approval")
            )
        text = f"workflow `{name}`: {_asked(self.gate.config.approval[name])}"
        return ExplanationStep("approval", ExplainedOutcome.ASKS, text, self._at("approval", name))

    def _rule(self, number: int | None) -> tuple[str, ...]:
        if number is None:
            return self._at("governance", "defaults", "action")
        return self._at("governance", "rules", number)

    def _at(self, *place: str | int) -> tuple[str, ...]:
        return (self.lines[place],) if place in self.lines else ()


_SETTLED = {
    True: ExplainedOutcome.HOLDS,
    False: ExplainedOutcome.HOLDS_NOT,
    None: ExplainedOutcome.UNDECIDED,
}
_VERDICTS = {
    Action.FORWARD: ExplainedOutcome.PASSED,
    Action.DENY: ExplainedOutcome.REFUSED,
    Action.APPROVE: ExplainedOutcome.ASKS,
    Action.POLICY: ExplainedOutcome.ASKS,
}


def _had_a_say(policy: str, decision: Decision) -> bool:
    """Whether the policy determined Cedar's answer, or is the one that it could not evaluate."""
    if decision.errors:
        return any(f"policy `{policy}`" in error for error in decision.errors)
    return policy in decision.policies


def _asked(workflow: Workflow) -> str:
    """Who is asked, and how long."""
    names = workflow.approvers
    who = "anyone there" if names is None else f"{workflow.required} of {', '.join(names)}"
    return f"{workflow.where}, {who}, within {written_duration(workflow.timeout)}"
