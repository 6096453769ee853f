"""There is no permit without grounds, and grounds are proved where they are made."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness.approval_service import WORKFLOW, a_call, configured
from tests.harness.policy import call, gate, request
from thoughtgate_proxy.core.approval import Approval, Asked, Call, State, Vote, VoteValue
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.decision import Decision, Gate, Outcome
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import (
    ApprovalEvidence,
    BodilessRequest,
    ForwardDecisions,
    Permit,
    PermitRefused,
    UngatedMessage,
)
from thoughtgate_proxy.core.protocol.message import Request, Response, read

FORWARD = Decision(Outcome.FORWARD, Gate.RULES, "", "")
REJECTED = Vote("b", "B", VoteValue.REJECT, 0.0)
ROOT = Path(__file__).parents[4]


def approval_of(state: State, **fields: object) -> Approval:
    votes = (Vote("a", "A", VoteValue.APPROVE, 0.0),)
    asked = Asked("default", "page", "it must", "rules")
    one = Approval("tg_1", a_call(), asked, 0.0, 9.0, 1, state, votes)
    return replace(one, **fields)  # type: ignore[arg-type]  # a test's fields


def judged(
    call: Call, governance: dict[str, Any] | None = None, **config: Any
) -> tuple[PolicyEngine, Source, tuple[Decision, ...]]:
    """The gates, the server, and what they say of `call`."""
    engine = configured(governance or {}, **config)
    source, asked = engine.config.enabled_sources[0], read(call.body, max_batch=1)
    assert isinstance(asked, Request)
    return engine, source, engine.judge(source, asked, 0.0, again=True)


def answering(call: Call, **params: Any) -> bytes:
    """The body of a call with what answers its server's question."""
    sent = json.loads(call.body)
    more = {"inputResponses": {"who": {}}, "requestState": "the server's own", **params}
    return json.dumps(sent | {"id": 2, "params": sent["params"] | more}).encode()


@pytest.mark.parametrize("outcome", [Outcome.DENY, Outcome.HOLD])
def test_decisions_are_grounds_only_if_each_of_them_goes_on(outcome: Outcome) -> None:
    stopped = Decision(outcome, Gate.RULES, "", "")
    for decisions in ((stopped,), (FORWARD, stopped), (stopped, FORWARD)):
        with pytest.raises(PermitRefused, match="a permit was asked for"):
            ForwardDecisions(decisions)
    with pytest.raises(ValueError, match="without a decision"):
        ForwardDecisions(())
    observed = replace(stopped, observed=True)
    engine, grounds = gate(), ForwardDecisions((FORWARD, observed))
    source = engine.config.enabled_sources[0]
    permit = engine.permit(source, "/mcp", b"{}", grounds)
    assert permit == Permit(source, "POST", "/mcp", b"{}", grounds)


def test_a_gated_request_is_no_ungated_message() -> None:
    for message in (request("tools/list"), Response(1)):
        assert UngatedMessage(message).message == message
    for gated in (call("t"), request("resources/read", {"uri": "a:b"})):
        with pytest.raises(ValueError, match="without a decision"):
            UngatedMessage(gated)


def test_a_batch_has_grounds_for_its_members() -> None:
    engine = gate()
    source, grounds = engine.config.enabled_sources[0], ForwardDecisions((FORWARD,))
    members = (UngatedMessage(Response(1)), grounds)
    assert engine.permit(source, "/", b"[]", members).grounds == members
    with pytest.raises(ValueError, match="a permit was asked for"):
        engine.permit(source, "/", b"[]", ())


@pytest.mark.parametrize("purpose", BodilessRequest)
def test_what_has_no_body_has_none(purpose: BodilessRequest) -> None:
    engine = gate()
    source = engine.config.enabled_sources[0]
    permit = engine.permit_bodiless(source, "/x", purpose)
    assert (permit.method, permit.target, permit.body) == (purpose.method, "/x", b"")
    for method, body in ((purpose.method, b"{}"), ("POST", b"")):
        with pytest.raises(ValueError, match="another request"):
            Permit(source, method, "/x", body, purpose)


def test_a_permit_cannot_be_changed() -> None:
    engine = gate()
    permit = engine.permit_bodiless(engine.config.enabled_sources[0], "/", BodilessRequest.LISTEN)
    with pytest.raises(AttributeError):
        permit.body = b"x"  # type: ignore[misc]


@pytest.mark.parametrize(
    "evidence",
    [
        *(approval_of(state) for state in State if state is not State.SENDING),
        approval_of(State.SENDING, votes=()),
        approval_of(State.SENDING, required=2),
        approval_of(State.SENDING, votes=(Vote("a", "A", VoteValue.APPROVE, 0.0), REJECTED)),
        approval_of(State.SENDING, call=replace(a_call(), body=a_call(user="other").body)),
        approval_of(State.SENDING, call=replace(a_call(), target="/other")),
        approval_of(State.SENDING, call=replace(a_call(), digest="0" * 64)),
    ],
)
@pytest.mark.parametrize("governance", [{}, {"rules": []}], ids=["held", "let through by now"])
def test_there_is_no_permit_without_evidence_of_approval(
    evidence: Approval, governance: dict[str, Any]
) -> None:
    engine, source, decisions = judged(evidence.call, governance)
    with pytest.raises(ValueError, match="a permit was asked for"):
        engine.permit_approved(source, evidence, decisions)
    good = approval_of(State.SENDING)
    assert engine.permit_approved(source, good, decisions).body == good.call.body


def test_approval_is_no_permit_for_what_is_denied_or_asks_others() -> None:
    good = approval_of(State.SENDING)
    engine, source, denied = judged(good.call, {"rules": [{"match": "*", "action": "deny"}]})
    with pytest.raises(PermitRefused, match="denies it"):
        engine.permit_approved(source, good, denied)
    engine, source, held = judged(good.call)
    with pytest.raises(PermitRefused, match="decides on it no more"):
        engine.permit_approved(source, good, (replace(held[0], workflow="another"),))


def test_a_permit_for_what_is_held_looks_at_its_evidence_itself() -> None:
    good = approval_of(State.SENDING)
    _, source, decisions = judged(good.call)
    call, evidence = good.call, ApprovalEvidence(good, decisions)
    assert Permit(source, "POST", call.target, call.body, evidence).approved == good
    other = Source(id="other", url=source.url)
    for to, method, target, body in (
        (other, "POST", call.target, call.body),
        (source, "POST", "/other", call.body),
        (source, "POST", call.target, b"{}"),
        (source, "GET", call.target, call.body),
    ):
        with pytest.raises(ValueError, match="a permit was asked for"):
            Permit(to, method, target, body, evidence)
    rejected = replace(good, votes=(*good.votes, REJECTED))
    denied = tuple(replace(one, outcome=Outcome.DENY) for one in decisions)
    elsewhere = tuple(replace(one, workflow="another") for one in decisions)
    unsent = replace(good, state=State.APPROVED)
    for approval, said in (
        (rejected, decisions), (unsent, decisions), (good, denied), (good, elsewhere),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="a permit was asked for"):
            ApprovalEvidence(approval, said)


def test_a_majority_does_not_overrule_a_rejection() -> None:
    many = tuple(Vote(who, who, VoteValue.APPROVE, 0.0) for who in "cde")
    assert approval_of(State.PENDING, votes=many).enough
    assert not approval_of(State.PENDING, votes=(REJECTED, *many)).enough


def test_an_answer_to_the_server_of_an_approved_call_needs_its_approval() -> None:
    done = approval_of(State.DONE)
    engine, source, decisions = judged(done.call)
    permit = engine.permit_follow_up(source, done, answering(done.call), decisions)
    assert (permit.target, permit.approved) == (done.call.target, done)
    for evidence in (
        *(approval_of(state) for state in State if state is not State.DONE),
        replace(done, votes=()),
        replace(done, required=2),
        replace(done, call=replace(done.call, digest="0" * 64)),
    ):
        with pytest.raises(ValueError, match="a permit was asked for"):
            engine.permit_follow_up(source, evidence, answering(done.call), decisions)
    with pytest.raises(PermitRefused, match="not answered any more"):
        engine.permit_follow_up(source, approval_of(State.SENDING), done.call.body, decisions)


@pytest.mark.parametrize("changed", [{"name": "delete_all"}, {"arguments": {"a": 1}}, {"more": 1}])
def test_an_answer_may_bring_nothing_but_the_answer(changed: dict[str, Any]) -> None:
    done = approval_of(State.DONE)
    engine, source, decisions = judged(done.call)
    with pytest.raises(ValueError, match="another request"):
        engine.permit_follow_up(source, done, answering(done.call, **changed), decisions)


@pytest.mark.parametrize(
    ("workflow", "rules", "reason"),
    [
        ({"approvers": ["ada", "bob"], "required": 2}, {}, "now requires 2"),
        ({}, {"approval": "another"}, "decides on it no more"),
        ({}, {"action": "deny"}, "denies it"),
    ],
)
def test_after_a_reload_an_approval_of_before_is_no_grounds(
    workflow: dict[str, Any], rules: dict[str, Any], reason: str
) -> None:
    done = approval_of(State.DONE)
    rule = {"match": "delete_*", "action": "approve", **rules}
    engine, source, decisions = judged(
        done.call,
        {"rules": [rule]},
        approval={"default": {**WORKFLOW, **workflow}, "another": WORKFLOW},
    )
    with pytest.raises(PermitRefused, match=reason) as refused:
        engine.permit_follow_up(source, done, answering(done.call), decisions)
    assert refused.value.decision.outcome is Outcome.DENY


def test_the_rest_of_a_reply_is_asked_for_on_the_same_grounds_unless_all_is_frozen() -> None:
    good = approval_of(State.SENDING)
    engine, source, decisions = judged(good.call)
    sent = engine.permit_approved(source, good, decisions)
    rest = engine.permit_rest(sent)
    assert (rest.method, rest.target, rest.body) == ("GET", good.call.target, b"")
    assert rest.approved == good
    with pytest.raises(PermitRefused, match="frozen every gated call"):
        configured({"freeze": True}).permit_rest(sent)
    with pytest.raises(PermitRefused, match="not in the configuration"):
        configured({}, sources=[{"id": "b", "url": "http://b"}]).permit_rest(sent)


def test_what_an_answer_is_compared_by_leaves_out_the_answer_alone() -> None:
    call = a_call()
    bare = call_digest.without_answers(call.body)
    assert call_digest.without_answers(answering(call)) == bare
    assert call_digest.without_answers(answering(call, name="other")) != bare


WRONG = """
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy.decision import Decision
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import Permit


def wrong(engine: PolicyEngine, source: Source, decisions: tuple[Decision, ...]) -> None:
"""


def mypy(lines: Sequence[str], folder: Path) -> str:
    """What mypy says of a function with these lines."""
    file = folder / "wrong.py"
    file.write_text(WRONG + "".join(f"    {line}\n" for line in lines))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_no_permit_without_grounds_passes_the_type_checker(tmp_path: Path) -> None:
    wrong = [
        'engine.permit(source, "/", b"{}")',
        'engine.permit(source, "/", b"{}", decisions)',
        'engine.permit(source, "/", b"[]", (decisions,))',
        'engine.permit_bodiless(source, "/", "POST")',
        'engine.permit_follow_up(source, None, b"{}", decisions)',
        'Permit(source, "POST", "/", b"{}")',
        'Permit(source, "POST", "/", b"{}", decisions)',
    ]
    found = mypy(wrong, tmp_path)
    first = WRONG.count("\n") + 1
    refused = {int(line.split(":")[1]) for line in found.splitlines() if ": error:" in line}
    assert refused == set(range(first, first + len(wrong))), found


@pytest.mark.parametrize(
    ("governance", "gate"),
    [
        ({"freeze": True}, Gate.FREEZE),
        ({"rules": [{"match": "delete_*", "action": "deny"}]}, Gate.RULES),
    ],
    ids=["freeze", "rule"],
)
def test_who_answers_a_server_hears_the_gates_own_denial(
    governance: dict[str, Any], gate: Gate
) -> None:
    done = approval_of(State.DONE)
    engine, source, decisions = judged(done.call, governance)
    with pytest.raises(PermitRefused) as refused:
        engine.permit_follow_up(source, done, answering(done.call), decisions)
    assert (refused.value.decision,) == decisions
    assert refused.value.decision.gate is gate
