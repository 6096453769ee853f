"""The gates in their order, and the only place that makes permits."""

import ast
import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest

import thoughtgate_proxy
from tests.harness.policy import call, gate, judged, request
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.decision import Decision, Gate, Outcome
from thoughtgate_proxy.core.policy.engine import PolicyEngine

PACKAGE = Path(inspect.getfile(thoughtgate_proxy)).parent
# The modules that take a permit, or hand it on.
HOLDERS = (
    "core/policy/engine.py", "upstream/pool.py", "exchange/exchange.py", "exchange/dispatch.py",
    "approvals/dispatcher.py", "holds/server_call.py", "holds/follow_up.py",
)  # fmt: skip
EVERYTHING = 'permit(principal, action == Action::"Forward", resource);'


def rule(**fields: Any) -> dict[str, Any]:
    return {"defaults": {"action": "deny"}, "rules": [{"match": "*", **fields}]}


def test_permits_are_made_in_one_module_only() -> None:
    makers = set()
    for file in PACKAGE.rglob("*.py"):
        where = file.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", getattr(called, "attr", ""))
            mentions = isinstance(node, ast.Name) and node.id == "Permit"
            if name == "Permit":
                makers.add(where)
            elif mentions and where not in HOLDERS:
                pytest.fail(f"{where} has `Permit` in hand")
            # Another name for it, or a copy with other contents, would be one as well.
            assert not (isinstance(node, ast.alias) and node.name == "Permit" and node.asname)
            if name in ("replace", "__replace__", "copy", "deepcopy"):
                assert "permit" not in ast.dump(node).lower(), where
    assert makers == {"core/policy/engine.py"}


def test_evidence_and_decisions_are_made_by_the_policy_alone() -> None:
    # What a message's own reading or the gates' own words prove may be stated by whoever has them.
    fields = {field.name for field in dataclasses.fields(Decision)} - {"reason", "config"}
    for file in PACKAGE.rglob("*.py"):
        where = file.relative_to(PACKAGE).as_posix()
        if where.startswith("core/policy/"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                assert name not in ("Decision", "ApprovalEvidence"), f"{where} makes one"
                if name in ("replace", "__replace__"):
                    named = {keyword.arg for keyword in node.keywords}
                    assert not named & fields, f"{where} rewrites a decision"


def test_the_kill_switch_stops_every_gated_call_even_while_observing() -> None:
    keeper = gate({**rule(action="forward"), "freeze": True, "mode": "observe"})
    for asked in (call("t"), request("prompts/get", {"name": "p"})):
        decision = judged(keeper, asked)
        assert (decision.outcome, decision.gate, decision.goes_on) == (
            Outcome.DENY, Gate.FREEZE, False,
        )  # fmt: skip
        assert "governance.freeze" in decision.reason


def test_a_hidden_tool_is_unknown_and_nothing_more_is_said() -> None:
    source = {"id": "a", "url": "http://a", "expose": {"mode": "blocklist", "tools": ["x"]}}
    keeper = gate({**rule(action="forward", limit="1/m"), "mode": "observe"}, sources=[source])
    decision = judged(keeper, call("x"))
    assert decision == Decision(Outcome.DENY, Gate.VISIBILITY, "Unknown tool: x", keeper.digest)
    # Nor does it count against a limit.
    assert judged(keeper, call("y")).outcome is Outcome.FORWARD


def test_a_limited_rule_denies_what_is_over_its_limit_and_says_when_to_ask_again() -> None:
    keeper = gate(rule(action="forward", limit="2/m"))
    assert [judged(keeper, call("t"), now).outcome for now in (0.0, 10.0)] == [Outcome.FORWARD] * 2
    decision = judged(keeper, call("t"), 20.0)
    assert (decision.gate, decision.outcome, decision.rule) == (Gate.LIMIT, Outcome.DENY, 0)
    assert decision.retry_after == 40.0
    assert "2 calls in 60 s" in decision.reason
    assert judged(keeper, call("t"), 60.0).goes_on


def test_a_denied_call_does_not_count_against_a_limit() -> None:
    keeper = gate(rule(action="deny", limit="1/m"))
    assert [judged(keeper, call("t")).gate for _ in range(3)] == [Gate.RULES] * 3


def test_the_limit_counts_the_uris_of_a_subscription_one_by_one() -> None:
    keeper = gate(rule(action="forward", limit="2/m"))
    asked = request(
        "subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a:1", "a:2", "a:3"]}}
    )
    decisions = keeper.judge(keeper.config.enabled_sources[0], asked, 0.0)
    assert [decision.goes_on for decision in decisions] == [True, True, False]


def test_reasons_name_the_rule_as_the_configuration_does() -> None:
    governance = {
        "rules": [
            {"match": "file:///secret/*", "action": "deny"},
            {"match": "file:*", "action": "forward"},
            {"match": "ask", "action": "approve"},
        ]
    }
    keeper = gate(governance)
    reason = judged(keeper, request("resources/read", {"uri": "file:///a/../secret/x"})).reason
    assert "rule `file:*` (`governance.rules[1]`) as written" in reason
    assert "rule `file:///secret/*` (`governance.rules[0]`)" in reason
    assert "`file:///secret/x`; ask for it in that form" in reason
    assert judged(keeper, call("x")).reason == (
        "the default action (`governance.defaults.action`) denies it"
    )
    assert judged(keeper, call("ask")).reason == (
        "rule `ask` (`governance.rules[2]`) asks for a human's approval"
    )


def test_a_default_that_asks_for_approval_uses_the_default_workflow() -> None:
    decision = judged(gate({"defaults": {"action": "approve"}}), call("t"))
    assert (decision.outcome, decision.workflow, decision.rule) == (Outcome.HOLD, "default", None)
    assert not decision.goes_on


def test_what_cedar_could_not_decide_names_policy_and_error() -> None:
    bad = '@id("bad") permit(principal, action, resource) when { resource.arguments.x > 1 };'
    decision = judged(gate(rule(action="policy"), cedar=EVERYTHING + bad), call("t"))
    assert (decision.outcome, decision.gate) == (Outcome.DENY, Gate.CEDAR)
    assert decision.reason.startswith("Cedar could not decide: ")
    assert "`bad`" in decision.reason
    assert decision.errors


def test_where_cedar_is_to_be_asked_and_there_are_no_policies_the_call_is_denied() -> None:
    config = gate(rule(action="policy"), cedar=EVERYTHING).config
    decision = judged(PolicyEngine(config, "d", None), call("t"))
    assert (decision.outcome, decision.gate) == (Outcome.DENY, Gate.CEDAR)


def test_cedar_is_shown_no_arguments_but_those_of_calls_and_prompts() -> None:
    text = EVERYTHING.replace(";", " when { resource.arguments has k };")
    keeper = gate(rule(action="policy"), cedar=text)
    arguments = {"arguments": {"k": 1}}
    assert judged(keeper, request("tools/call", {"name": "t", **arguments})).goes_on
    assert judged(keeper, request("prompts/get", {"name": "t", **arguments})).goes_on
    for method, params in (
        ("resources/read", {"uri": "a:b"}),
        ("resources/subscribe", {"uri": "a:b"}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a:b"]}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}),
    ):
        assert not judged(keeper, request(method, {**params, **arguments})).goes_on


def test_cedar_is_asked_about_every_reading_of_a_uri() -> None:
    text = EVERYTHING + (
        'forbid(principal, action, resource) when { resource.tool_name like "docs://secret/*" };'
    )
    keeper = gate(rule(action="policy"), cedar=text)

    def outcome(uri: str) -> tuple[bool, str]:
        decision = judged(keeper, request("resources/read", {"uri": uri}))
        return decision.goes_on, decision.reason

    assert outcome("docs://open/x")[0]
    assert outcome("docs://open/../open/x")[0]
    goes_on, reason = outcome("docs://open/..%2fsecret/x")
    assert not goes_on
    assert "`docs://secret/x`" in reason


@pytest.mark.parametrize(("written", "walked"), [("Forward", "Approve"), ("Approve", "Forward")])
def test_a_uri_that_one_reading_forwards_and_another_lets_be_approved_is_refused(
    written: str, walked: str
) -> None:
    text = "".join(
        f'permit(principal, action == Action::"{action}", resource) when '
        f'{{ {"!" if action == written else ""}(resource.tool_name like "docs://ask/*") }};'
        for action in (written, walked)
    )
    keeper = gate(rule(action="policy"), cedar=text)
    plain = judged(keeper, request("resources/read", {"uri": "docs://ask/x"}))
    assert plain.outcome is (Outcome.HOLD if walked == "Approve" else Outcome.FORWARD)
    decision = judged(keeper, request("resources/read", {"uri": "docs://open/..%2fask/x"}))
    assert (decision.outcome, decision.gate) == (Outcome.DENY, Gate.CEDAR)
    assert "`docs://ask/x`; ask for it in that form" in decision.reason


def test_a_hidden_tool_is_unknown_while_everything_is_frozen_too() -> None:
    source = {"id": "a", "url": "http://a", "expose": {"mode": "blocklist", "tools": ["x"]}}
    keeper = gate({"freeze": True}, sources=[source])
    assert judged(keeper, call("x")).gate is Gate.VISIBILITY
    assert judged(keeper, call("y")).gate is Gate.FREEZE


def test_the_limit_of_a_rule_that_asks_humans_counts_each_call() -> None:
    keeper = gate(rule(action="approve", limit="1/m"))
    assert [judged(keeper, call("t")).gate for _ in range(3)] == [
        Gate.RULES, Gate.LIMIT, Gate.LIMIT,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "more", "may"),
    [
        ("approve", {}, True),
        ("policy", {}, True),
        ("forward", {}, False),
        ("deny", {}, False),
        ("approve", {"mode": "observe"}, False),
    ],
)
def test_a_human_may_have_to_decide_where_a_rule_or_cedar_asks(
    action: str, more: dict[str, Any], may: bool
) -> None:
    keeper = gate({**rule(action=action), **more}, cedar=EVERYTHING)
    source = keeper.config.enabled_sources[0]
    assert keeper.may_hold(source, Kind.TOOL, "t") is may
