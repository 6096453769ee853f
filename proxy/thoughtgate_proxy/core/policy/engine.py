"""The gates, in their order: what may be sent, and the permits to send it."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, assert_never

from thoughtgate_proxy.core.approval import Approval, Ending, State
from thoughtgate_proxy.core.config.values import Action, Config, Kind, Mode, Source
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.cedar import Answer, Judgement
from thoughtgate_proxy.core.policy.decision import Decision, Denial, Gate, Outcome, first_stopped
from thoughtgate_proxy.core.policy.permit import (
    ApprovalEvidence,
    BodilessRequest,
    BodyGrounds,
    Permit,
    PermitRefused,
)
from thoughtgate_proxy.core.policy.rate_limit import RateLimiter
from thoughtgate_proxy.core.policy.rules import Applied, Conflict, Rules
from thoughtgate_proxy.core.policy.visibility import Visibility
from thoughtgate_proxy.core.protocol.confusables import alike
from thoughtgate_proxy.core.protocol.message import Request, Target
from thoughtgate_proxy.core.protocol.uri import readings


class Policies(Protocol):
    """Gate 3, as `core.policy.PolicySet` has it; whoever measures it stands in between."""

    def judge(
        self, kind: Kind, source: str, method: str, name: str, arguments: Mapping[str, Any]
    ) -> Judgement:
        """What the policies say of a call."""


class PolicyEngine:
    """One configuration in force, for one principal. Replaced whole when either changes."""

    def __init__(self, config: Config, digest: str, policies: Policies | None) -> None:
        self.config, self.digest = config, digest
        self._policies = policies
        self._observe = config.governance.mode is Mode.OBSERVE
        self._visibility = {s.id: Visibility(s.expose) for s in config.enabled_sources}
        self._rules = {s.id: Rules(config.governance, s.id) for s in config.enabled_sources}
        self._limiter = RateLimiter()
        self._standing: dict[int | None, Decision] = {}

    def visibility(self, source: Source) -> Visibility:
        """Which tools of `source` the agent may see."""
        return self._visibility[source.id]

    def judge(
        self, source: Source, request: Request, now: float, *, again: bool = False
    ) -> tuple[Decision, ...]:
        """Judge each target of a gated request; `now` is monotonic, in seconds.

        `again`: it was judged before and has been waiting since, so no limit counts it anew.
        """
        arguments = arguments_of(request)
        judged = [
            self._judge(source, request.method, target, arguments, now, again)
            for target in request.targets
        ]
        return tuple(judged)

    def may_hold(self, source: Source, kind: Kind, name: str) -> bool:
        """Whether a human may have to decide on a call of `name`, with some arguments or others."""
        matching = self._rules[source.id].matching(kind, name)
        if self._observe or isinstance(matching, Conflict):
            return False
        return any(
            applied.action in (Action.APPROVE, Action.POLICY)
            and self._workflow(applied) is not None
            for applied in matching
        )

    # The doors: each gives a permit on other grounds. All raise `ValueError`.

    def permit(self, source: Source, target: str, body: bytes, grounds: BodyGrounds) -> Permit:
        """Leave to send one message, or a batch."""
        return Permit(source, "POST", target, body, grounds)

    def permit_bodiless(self, source: Source, target: str, request: BodilessRequest) -> Permit:
        """Leave for a GET or DELETE."""
        return Permit(source, request.method, target, b"", request)

    def permit_approved(
        self, source: Source, approval: Approval, body: bytes, decisions: tuple[Decision, ...]
    ) -> Permit:
        """Leave to send an approved call, once; `decisions` are what the gates say of it now.

        `approval` is the evidence: it is being sent, as many approved as must, and `body` is what
        was approved but for what of its `_meta` is the carrying request's.
        """
        if approval.state is not State.SENDING:
            raise ValueError("a permit was asked for what is not being sent")
        evidence = self._evidence(source, approval, decisions)
        return Permit(source, "POST", approval.call.target, body, evidence)

    def permit_follow_up(
        self, source: Source, approval: Approval, body: bytes, decisions: tuple[Decision, ...]
    ) -> Permit:
        """Leave to answer the server of an approved call, which has asked back.

        `decisions` are what the gates say of `body` now. Raises `PermitRefused` where they deny it,
        or where the approval does not count any more.
        """
        if approval.state is not State.DONE:
            raise PermitRefused(self._outdated("its server's question is not answered any more"))
        evidence = self._evidence(source, approval, decisions)
        return Permit(source, "POST", approval.call.target, body, evidence)

    def permit_rest(self, sent: Permit) -> Permit:
        """Leave to ask for the rest of the reply to what was sent, on the same grounds.

        Raises `PermitRefused` where every gated call is frozen, or the server has gone.
        """
        if self.config.governance.freeze:
            raise PermitRefused(self._frozen())
        source = next((s for s in self.config.enabled_sources if s.id == sent.source.id), None)
        if source is None:
            reason = f"its server `{sent.source.id}` is not in the configuration any more"
            raise PermitRefused(self._outdated(reason))
        return Permit(source, "GET", sent.target, b"", sent.grounds)

    def withdrawal(self, approval: Approval, decisions: Iterable[Decision]) -> Denial | None:
        """Why an approval does not count here; `decisions` are what the gates say of its call."""
        name = approval.asked.workflow
        workflow = self.config.approval.get(name)
        for decision in decisions:
            if decision.goes_on:
                continue
            if decision.outcome is not Outcome.HOLD:
                frozen = decision.gate is Gate.FREEZE
                return Denial(Ending.FROZEN if frozen else Ending.RULED_OUT, decision.reason)
            told = None
            if decision.workflow != name or workflow is None:
                told = "decides on it no more"
            elif workflow.adapter != approval.asked.adapter:
                told = "now asks elsewhere"
            elif approval.state is not State.PENDING and (
                len(approval.approvers) < workflow.required
            ):
                told = f"now requires {workflow.required} approvers"
            if told is not None:
                return Denial(Ending.RECONFIGURED, f"the workflow `{name}` {told}")
        return None

    def _evidence(
        self, source: Source, approval: Approval, decisions: tuple[Decision, ...]
    ) -> ApprovalEvidence:
        call = approval.call
        digest = call_digest.digest(
            principal=call.principal, source=source.id, target=call.target, body=call.body,
            credential=call.credential, bind_meta=call.bind_meta,
        )  # fmt: skip
        if digest != call.digest:
            raise ValueError("a permit was asked for what nobody approved")
        denied = first_stopped(decisions)
        if denied is not None and denied.outcome is Outcome.DENY:
            raise PermitRefused(denied)
        if (denial := self.withdrawal(approval, decisions)) is not None:
            raise PermitRefused(self._outdated(denial.reason))
        return ApprovalEvidence(approval, decisions)

    def _outdated(self, reason: str) -> Decision:
        return Decision(Outcome.DENY, Gate.APPROVAL, reason, self.digest)

    def _frozen(self) -> Decision:
        reason = "an operator has frozen every gated call (`governance.freeze`)"
        return Decision(Outcome.DENY, Gate.FREEZE, reason, self.digest)

    def _judge(
        self,
        source: Source,
        method: str,
        target: Target,
        arguments: Mapping[str, Any],
        now: float,
        again: bool,
    ) -> Decision:
        kind, name = target.kind, target.name
        if kind is Kind.TOOL and not self._visibility[source.id].shows(name):
            # Never merely observed: for the agent the tool does not exist.
            return Decision(Outcome.DENY, Gate.VISIBILITY, f"Unknown tool: {name}", self.digest)
        if self.config.governance.freeze:
            return self._frozen()
        matching = self._rules[source.id].matching(kind, name)
        if isinstance(matching, Conflict):
            raw, other, reading = matching.raw, matching.other, matching.reading
            reason = (
                f"the URI meets {self._rule(raw)} as written, and {self._rule(other)} where a "
                f"server reads it as `{_shown(reading)}`; ask for it in that form"
            )
            return self._decide(Outcome.DENY, Gate.RULES, reason)
        strictest: Decision | None = None
        unsettled = ""
        for applied in matching:
            if applied.when and (found := applied.when.impostor(arguments)):
                reason = f"{alike(found)}, on which {_named(applied)} depends"
                return self._decide(Outcome.DENY, Gate.RULES, reason, **_facts(applied))
            settled = applied.when.settle(arguments) if applied.when else None
            if settled is not None and settled.holds is False:
                continue
            decision = self._act(source, method, target, arguments, applied, now, again)
            if strictest is None or _STRICTNESS[decision.outcome] > _STRICTNESS[strictest.outcome]:
                strictest = decision
            if settled is None or settled.holds:
                break
            # INVARIANT: what cannot be told never gives the less strict answer.
            unsettled = unsettled or f"; {_named(applied)} is undecided, as {settled.why}"
            if decision.outcome is Outcome.DENY:
                break
        assert strictest is not None  # noqa: S101  the last one has no conditions
        if unsettled:
            return dataclasses.replace(strictest, reason=strictest.reason + unsettled)
        return strictest

    def _act(
        self,
        source: Source,
        method: str,
        target: Target,
        arguments: Mapping[str, Any],
        applied: Applied,
        now: float,
        again: bool,
    ) -> Decision:
        # Most rules need to be asked once, as nothing but the name matters to them.
        standing = self._standing.get(applied.number)
        if standing is not None:
            return standing
        where = _named(applied)
        facts = _facts(applied)
        limit = applied.rule.limit if applied.rule else None
        if limit is not None and applied.action is not Action.DENY and not again:
            wait = self._limiter.take(applied.number or 0, limit, now)
            if wait > 0:
                reason = f"{where} allows {limit.count} calls in {limit.seconds:g} s"
                return self._decide(Outcome.DENY, Gate.LIMIT, reason, **facts, retry_after=wait)
        match applied.action:
            case Action.FORWARD | Action.DENY as action:
                outcome, does = (
                    (Outcome.FORWARD, "forwards")
                    if action is Action.FORWARD
                    else (Outcome.DENY, "denies")
                )
                decision = self._decide(outcome, Gate.RULES, f"{where} {does} it", **facts)
                if limit is None:
                    self._standing[applied.number] = decision
                return decision
            case Action.APPROVE:
                reason = f"{where} asks for a human's approval"
                held = self._hold(Gate.RULES, reason, applied, facts)
                if limit is None:
                    self._standing[applied.number] = held
                return held
            case Action.POLICY:
                return self._ask_cedar(source, method, target, arguments, applied, facts)
            case _:
                assert_never(applied.action)

    def _ask_cedar(
        self,
        source: Source,
        method: str,
        target: Target,
        arguments: Mapping[str, Any],
        applied: Applied,
        facts: dict[str, Any],
    ) -> Decision:
        if self._policies is None:
            reason = f"{_named(applied)} asks Cedar, and there are no policies"
            return self._decide(Outcome.DENY, Gate.CEDAR, reason, **facts)
        judgement = self._policies.judge(target.kind, source.id, method, target.name, arguments)
        for reading in readings(target.name)[1:] if target.kind is Kind.RESOURCE else ():
            other = self._policies.judge(target.kind, source.id, method, reading, arguments)
            if other.answer is not judgement.answer:
                facts |= {"policies": other.policies, "errors": other.errors}
                reason = (
                    f"Cedar decides otherwise where a server reads the URI as `{_shown(reading)}`; "
                    "ask for it in that form"
                )
                return self._decide(Outcome.DENY, Gate.CEDAR, reason, **facts)
        facts |= {"policies": judgement.policies, "errors": judgement.errors}
        policies = ", ".join(f"`{policy}`" for policy in judgement.policies)
        match judgement.answer:
            case Answer.FORWARD:
                reason = f"Cedar policy {policies} forwards it"
                return self._decide(Outcome.FORWARD, Gate.CEDAR, reason, **facts)
            case Answer.APPROVE:
                reason = f"Cedar policy {policies} asks for a human's approval"
                return self._hold(Gate.CEDAR, reason, applied, facts)
            case Answer.DENY:
                if judgement.errors:
                    reason = f"Cedar could not decide: {'; '.join(judgement.errors)}"
                elif policies:
                    reason = f"Cedar policy {policies} forbids it"
                else:
                    reason = "no Cedar policy allows it for this agent with these arguments"
                return self._decide(Outcome.DENY, Gate.CEDAR, reason, **facts)
            case _:
                assert_never(judgement.answer)

    def _hold(self, gate: Gate, reason: str, applied: Applied, facts: dict[str, Any]) -> Decision:
        workflow = self._workflow(applied)
        return self._decide(Outcome.HOLD, gate, reason, **facts, workflow=workflow)

    def _workflow(self, applied: Applied) -> str | None:
        return applied.rule.approval if applied.rule else self.config.default_workflow

    def _rule(self, number: int | None) -> str:
        rule = None if number is None else self.config.governance.rules[number]
        return _named(Applied(number, rule, self.config.governance.defaults.action))

    def _decide(self, outcome: Outcome, gate: Gate, reason: str, **facts: Any) -> Decision:
        observed = self._observe and outcome is not Outcome.FORWARD
        return Decision(outcome, gate, reason, self.digest, **facts, observed=observed)


def arguments_of(request: Request) -> Mapping[str, Any]:
    """A request's arguments. Only two methods have some; elsewhere they are no ground to decide."""
    has_arguments = request.method in ("tools/call", "prompts/get")
    return (request.params.get("arguments") if has_arguments else None) or {}


_STRICTNESS = {Outcome.FORWARD: 0, Outcome.HOLD: 1, Outcome.DENY: 2}


def _facts(applied: Applied) -> dict[str, Any]:
    return {"rule": applied.number, "match": applied.rule.match if applied.rule else None}


def _named(applied: Applied) -> str:
    if applied.rule is None:
        return "the default action (`governance.defaults.action`)"
    return f"rule `{applied.rule.match}` (`governance.rules[{applied.number}]`)"


def _shown(uri: str) -> str:
    return ascii(uri[:200])[1:-1]
