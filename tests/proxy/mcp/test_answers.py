"""What the agent reads when its call is not forwarded."""

# ruff: noqa: E501  a table is read row by row

import dataclasses
import json
from typing import Any

import pytest

from tests.harness.policy import MODERN, call, gate, judged, request
from thoughtgate_proxy.core.config.values import DenyAs
from thoughtgate_proxy.core.policy.decision import Decision, Gate, Outcome
from thoughtgate_proxy.mcp.answers import DECISION_META, error, refusal

FORBID = '@id("never") forbid(principal, action, resource);'
BROKEN = '@id("broken") permit(principal, action, resource) when { resource.arguments.x > 1 };'


def rule(action: str, **fields: Any) -> dict[str, Any]:
    return {"rules": [{"match": "t*", "action": action, **fields}]}


def limited() -> Decision:
    keeper = gate(rule("forward", limit="1/m"))
    judged(keeper, call("t"))
    return judged(keeper, call("t"), 20.5)


def in_a_batch() -> Decision:
    held = judged(gate(rule("approve")), call("t"))
    reason = f"{held.reason}, which no batch can wait for: send it alone"
    return dataclasses.replace(held, outcome=Outcome.DENY, gate=Gate.APPROVAL, reason=reason)


DENIED = {
    "rules": (
        judged(gate(rule("deny")), call("t")), 40301,
        ("ThoughtGate refused `t`: rule `t*` (`governance.rules[0]`) denies it. "
        "Asking again will not help: do without this call, or tell the user."),
    ),
    "the default": (
        judged(gate(), call("t")), 40301,
        ("ThoughtGate refused `t`: the default action (`governance.defaults.action`) denies it. "
        "Asking again will not help: do without this call, or tell the user."),
    ),
    "freeze": (
        judged(gate({"freeze": True}), call("t")), 40301,
        ("ThoughtGate refused `t`: an operator has frozen every gated call (`governance.freeze`). "
        "Asking again will not help until the operator lifts it."),
    ),
    "Cedar forbids": (
        judged(gate(rule("policy"), cedar=FORBID), call("t")), 40302,
        ("ThoughtGate refused `t`: Cedar policy `never` forbids it. "
        "Asking again with the same arguments will not help."),
    ),
    "Cedar is silent": (
        judged(gate(rule("policy"), cedar=FORBID.replace("resource)", "resource is Prompt)")), call("t")),
        40302,
        ("ThoughtGate refused `t`: no Cedar policy allows it for this agent with these arguments. "
        "Asking again with the same arguments will not help."),
    ),
    "Cedar cannot decide": (
        judged(gate(rule("policy"), cedar=BROKEN), call("t")), 40302,
        ("ThoughtGate refused `t`: Cedar could not decide: error while evaluating policy `broken`: "
        "record does not have the attribute `x`. "
        "Asking again with the same arguments will not help."),
    ),
    "limit": (
        limited(), 42901,
        ("ThoughtGate refused `t`: rule `t*` (`governance.rules[0]`) allows 1 calls in 60 s. "
        "It can be asked again in 40 s."),
    ),
    "approval": (
        in_a_batch(), 40301,
        ("ThoughtGate refused `t`: rule `t*` (`governance.rules[0]`) asks for a human's approval, "
        "which no batch can wait for: send it alone. "
        "Nobody was asked, and nobody has refused it."),
    ),
}  # fmt: skip
EACH = pytest.mark.parametrize(("decision", "code", "text"), DENIED.values(), ids=DENIED.keys())


def refuse(asked: Any, decision: Decision, deny_as: DenyAs = DenyAs.RESULT) -> dict[str, Any]:
    answer = json.loads(refusal(asked, decision, "c0ffee", deny_as))
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", asked.id)
    assert isinstance(answer, dict)
    return answer


def facts(decision: Decision) -> dict[str, Any]:
    expected: dict[str, Any] = {
        "outcome": "deny", "gate": decision.gate.value, "reason": decision.reason,
        "rule": decision.rule, "match": decision.match, "config": decision.config,
        "correlation_id": "c0ffee",
    }  # fmt: skip
    if decision.policies:
        expected["policies"] = list(decision.policies)
    if decision.errors:
        expected["errors"] = list(decision.errors)
    if decision.retry_after is not None:
        expected["retry_after"] = decision.retry_after
    return expected


@EACH
def test_a_refused_call_is_a_result_that_a_model_can_act_on(
    decision: Decision, code: int, text: str
) -> None:
    del code
    assert refuse(call("t"), decision)["result"] == {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {DECISION_META: facts(decision)},
    }


@EACH
def test_where_errors_are_wanted_or_it_is_no_call_the_answer_is_an_error(
    decision: Decision, code: int, text: str
) -> None:
    told = {"code": code, "message": text, "data": {DECISION_META: facts(decision)}}
    assert refuse(call("t"), decision, DenyAs.ERROR)["error"] == told
    for deny_as in DenyAs:
        asked = request("prompts/get", {"name": "t", **MODERN})
        assert refuse(asked, decision, deny_as)["error"] == told


@EACH
def test_a_modern_request_is_told_that_the_result_is_complete(
    decision: Decision, code: int, text: str
) -> None:
    del code, text
    modern = request("tools/call", {"name": "t", **MODERN})
    result = refuse(modern, decision)["result"]
    assert result.pop("resultType") == "complete"
    assert result == refuse(call("t"), decision)["result"]


def test_codes_of_our_own_are_outside_of_what_is_reserved() -> None:
    assert not [code for _, code, _ in DENIED.values() if -32768 <= code <= -32000]


@pytest.mark.parametrize("deny_as", list(DenyAs))
@pytest.mark.parametrize("params", [{"name": "x"}, {"name": "x", **MODERN}])
def test_a_hidden_tool_answers_as_if_it_did_not_exist(
    deny_as: DenyAs, params: dict[str, Any]
) -> None:
    source = {"id": "a", "url": "http://a", "expose": {"mode": "allowlist", "tools": ["t"]}}
    asked = request("tools/call", params)
    answer = refuse(asked, judged(gate(sources=[source]), asked), deny_as)
    assert answer["error"] == {"code": -32602, "message": "Unknown tool: x"}


def test_every_gate_that_can_deny_has_an_answer() -> None:
    for decided_by in Gate:
        if decided_by is Gate.NONE:
            continue
        decision = Decision(Outcome.DENY, decided_by, "because", "d", retry_after=0.2)
        refuse(call("t"), decision)
        if decided_by is not Gate.LIMIT:  # which always says when
            refuse(call("t"), dataclasses.replace(decision, retry_after=None))


def test_the_wait_is_never_said_to_be_shorter_than_it_is() -> None:
    decision = dataclasses.replace(limited(), retry_after=0.2)
    text = refuse(call("t"), decision)["result"]["content"][0]["text"]
    assert text.endswith("It can be asked again in 1 s.")


def test_a_refused_subscription_names_a_few_of_its_uris() -> None:
    uris = [f"a:{n}" for n in range(500)]
    asked = request("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
    told = refuse(asked, DENIED["rules"][0])["error"]["message"]
    assert "`a:0`, `a:1`, `a:2`, 497 more: " in told


def test_an_error_to_nobody_has_a_null_id() -> None:
    assert json.loads(error(None, 1, "x")) == {
        "jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "x"},
    }  # fmt: skip
