"""Gate 3: what Cedar answers, and that an error never lets a call through."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.harness.policy import AGENT, CONFIGS
from thoughtgate_proxy.core.config.cedar import CedarText, load_policies
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.cedar import Answer, Judgement, PolicySet
from thoughtgate_proxy.core.policy.identity import from_labels, from_words

REFERENCE = (CONFIGS / "transfer.cedar").read_text()


def policy_set(text: str, identity: str = AGENT) -> PolicySet:
    policies, mistakes = load_policies([CedarText("p.cedar", "p.cedar", text)], None)
    assert not mistakes
    return PolicySet(policies, from_words(identity, "agents", "pod-1"))


def judge(text: str, arguments: Any = None, name: str = "t", kind: Kind = Kind.TOOL) -> Judgement:
    return policy_set(text).judge(kind, "src", "tools/call", name, arguments or {})


def forward(when: str, effect: str = "permit") -> str:
    return f'{effect}(principal, action == Action::"Forward", resource) when {{ {when} }};\n'


EVERYONE = forward("true")


@pytest.mark.parametrize(
    ("identity", "name", "answer"),
    [
        (AGENT, "transfer_funds", Answer.FORWARD),
        ("data-engineering/other", "transfer_funds", Answer.APPROVE),
        ("other/my-agent", "transfer_funds", Answer.APPROVE),
        ("my-agent", "transfer_funds", Answer.APPROVE),
        (AGENT, "delete_db", Answer.DENY),
        (AGENT, "Transfer_funds", Answer.DENY),
    ],
)
def test_both_policies_of_the_reference_document_work_as_printed(
    identity: str, name: str, answer: Answer
) -> None:
    judgement = policy_set(REFERENCE, identity).judge(Kind.TOOL, "upstream", "tools/call", name, {})
    assert judgement.answer is answer
    assert not judgement.errors


@pytest.mark.parametrize(
    "when",
    [
        'principal == Agent::"data-engineering/my-agent"',
        'principal in Team::"data-engineering"',
        'principal in Namespace::"agents"',
        'principal.labels.app == "my-agent"',
        'principal.labels.team == "data-engineering"',
        'principal.namespace == "agents"',
        'principal.pod == "pod-1"',
        'resource == Tool::"src/t"',
        'resource.source == "src"',
        'resource.method == "tools/call"',
        'resource.tool_name == "t"',
        "resource.arguments.n == 3",
        'resource.arguments.d.lessThan(decimal("15.6"))',
        "resource.arguments.deep.list.contains(1)",
        "resource.arguments has nothing",
        "!(resource.arguments has absent)",
        'context == {} && resource.arguments["odd key"]',
    ],
)
def test_a_policy_sees_what_the_contract_says(when: str) -> None:
    arguments = {"n": 3, "deep": {"list": [1, 2]}, "nothing": None, "odd key": True}
    judgement = judge(forward(when), {**arguments, "d": Decimal("15.5")})
    assert judgement == Judgement(Answer.FORWARD, ("p.cedar#0",))


@pytest.mark.parametrize(
    ("kind", "entity"), [(Kind.TOOL, "Tool"), (Kind.PROMPT, "Prompt"), (Kind.RESOURCE, "Resource")]
)
def test_each_kind_is_an_entity_type_of_its_own(kind: Kind, entity: str) -> None:
    text = f'permit(principal, action, resource == {entity}::"src/t");'
    assert judge(text, kind=kind).answer is Answer.FORWARD
    others = [other for other in Kind if other is not kind]
    assert [judge(text, kind=other).answer for other in others] == [Answer.DENY, Answer.DENY]


def test_a_forbid_wins_and_is_named() -> None:
    text = EVERYONE + '@id("never") forbid(principal, action, resource);'
    assert judge(text) == Judgement(Answer.DENY, ("never",))


def test_where_forwarding_is_forbidden_an_approval_may_still_be_asked_for() -> None:
    text = forward("true", "forbid") + 'permit(principal, action == Action::"Approve", resource);'
    assert judge(text) == Judgement(Answer.APPROVE, ("p.cedar#1",))


def test_where_no_policy_speaks_the_call_is_denied() -> None:
    assert judge(forward("false")) == Judgement(Answer.DENY)


@pytest.mark.parametrize(
    "broken",
    [
        "resource.arguments.absent == 1",
        "resource.arguments.text > 1",
        "resource.arguments.nothing > 1",
        "resource.arguments.nothing.a == 1",
        "resource.arguments.huge < 5",
        'resource.arguments.n.lessThan(decimal("1.0"))',
        "resource.arguments.n + 1 > 1",
    ],
)
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_an_error_in_any_policy_denies_and_names_the_policy(broken: str, effect: str) -> None:
    arguments = {"text": "secret", "nothing": None, "n": 2**63 - 1, "huge": 10**30}
    for text in (EVERYONE + forward(broken, effect), forward(broken, effect) + EVERYONE):
        judgement = judge('@id("mine") ' + text if text.startswith(effect) else text, arguments)
        assert judgement.answer is Answer.DENY
        assert any("p.cedar#1" in error or "mine" in error for error in judgement.errors)


def test_an_error_in_the_second_evaluation_denies_too() -> None:
    text = (
        'permit(principal, action == Action::"Approve", resource);'
        'forbid(principal, action == Action::"Approve", resource) when { resource.arguments.a };'
    )
    judgement = judge(text)
    assert judgement.answer is Answer.DENY
    assert "p.cedar#1" in judgement.errors[0]


@pytest.mark.parametrize(
    "when",
    [
        "resource.arguments.n + resource.arguments.n > 3",
        "resource.arguments.n * 2 > 3",
        "-resource.arguments.least > 3",
        'decimal(resource.arguments.text).lessThan(decimal("1.0"))',
        "ip(resource.arguments.text).isLoopback()",
        'datetime(resource.arguments.text) < datetime("2024-01-01")',
        'duration(resource.arguments.text) < duration("1h")',
        "resource.arguments.huge.a == 1",
        "resource.arguments.text > 3",
        "resource.arguments.zz == 1",
        "resource.getTag(resource.arguments.text) == 1",
    ],
)
def test_no_error_quotes_an_argument(when: str) -> None:
    arguments = {
        "text": "SECRET `policy0` TEXT", "n": 2**63 - 1, "huge": 7 * 10**40, "least": -(2**63),
        "a SECRET key": 1,
    }  # fmt: skip
    judgement = judge(forward(when), arguments)
    (error,) = judgement.errors
    assert judgement.answer is Answer.DENY
    assert "SECRET" not in error
    assert "92233720368547758" not in error
    assert "7e40" not in error
    assert "p.cedar#0" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        {"a": {"__entity": {"type": "Agent", "id": "admin"}}},
        {"__extn": {"fn": "decimal", "arg": "1.0"}},
        {"a": [{"b": {"__expr": "true"}}]},
    ],
)
def test_arguments_that_would_be_more_than_data_are_denied(arguments: Any) -> None:
    judgement = judge(EVERYONE, arguments)
    assert judgement.answer is Answer.DENY
    assert "reserved by Cedar" in judgement.errors[0]


def test_a_forbid_cannot_be_switched_off_by_an_argument_of_another_type() -> None:
    text = EVERYONE + forward("resource.arguments.amount > 100", "forbid")
    for amount in (101, None, "101", [101], {"v": 101}, 10**30, True):
        assert judge(text, {"amount": amount}).answer is Answer.DENY
    assert judge(text, {"amount": 100}).answer is Answer.FORWARD


def test_two_numbers_that_cedar_cannot_hold_are_equal_only_if_they_are() -> None:
    text = forward("resource.arguments.a == resource.arguments.b")
    assert judge(text, {"a": 10**30, "b": 10**31}).answer is Answer.DENY
    assert judge(text, {"a": 10**30, "b": 10**30}).answer is Answer.FORWARD


def test_arguments_too_deep_for_cedar_are_denied_without_being_quoted() -> None:
    deep: Any = "SECRET"
    for _ in range(126):
        deep = [deep]
    reading = forward("resource.arguments has a && resource.arguments.a.isEmpty()", "forbid")
    judgement = judge(EVERYONE + reading, {"a": deep})
    assert judgement == Judgement(Answer.DENY, errors=("cedar cannot read these arguments",))


@pytest.mark.parametrize("name", ['a"b', "a\\", 'x") || true', "Tool::", "a/b", "é😀", "\\u0000"])
def test_a_name_is_an_id_whatever_is_in_it(name: str) -> None:
    text = (
        f"permit(principal, action, resource) when {{ resource.tool_name == {json.dumps(name)} }};"
    )
    if "\\u" not in json.dumps(name):
        assert judge(text, name=name).answer is Answer.FORWARD
    assert (
        judge('permit(principal, action, resource == Tool::"src/b");', name=name).answer
        is Answer.DENY
    )


def test_a_label_is_no_way_to_another_principal() -> None:
    policies, _ = load_policies([CedarText("p", "p", REFERENCE)], None)
    labels = {"app": "data-engineering_my-agent", "x/y": "data-engineering", "role": "my-agent"}
    who = from_labels(labels, "agents", "data-engineering.my-agent")
    answer = PolicySet(policies, who).judge(Kind.TOOL, "s", "tools/call", "transfer_x", {}).answer
    assert answer is Answer.APPROVE
