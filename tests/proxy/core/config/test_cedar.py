"""Cedar policies at load: named, placed, and refused with their line."""

from pathlib import Path

import cedarpy
import pytest

from tests.proxy.core.config.test_reading import CONFIGS, MINIMAL
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.config.cedar import (
    CedarPolicies,
    CedarPolicy,
    CedarText,
    _whole,
    load_policies,
)
from thoughtgate_proxy.core.config.cedar_text import MAX_NESTING, MAX_TOKENS, statements
from thoughtgate_proxy.core.config.cedar_types import Guarded
from thoughtgate_proxy.core.config.mistakes import ConfigRefused
from thoughtgate_proxy.runtime.config_loader import load, load_text

ASKING = MINIMAL.replace(b"deny", b"policy")
ANY = "permit(principal, action, resource);"


def loaded(*texts: str, schema: str | None = None) -> tuple[CedarPolicies, list[str]]:
    files = [CedarText(f"{n}.cedar", f"{n}.cedar", text) for n, text in enumerate(texts)]
    as_text = None if schema is None else CedarText("schema", "s.cedarschema", schema)
    policies, mistakes = load_policies(files, as_text)
    return policies, [str(mistake) for mistake in mistakes]


def mistakes(*texts: str, schema: str | None = None) -> list[str]:
    return loaded(*texts, schema=schema)[1]


def test_the_reference_documents_policies_load_from_a_file_beside_the_configuration() -> None:
    policies = load_text(
        ASKING + b"cedar: {policies: transfer.cedar}\n", "c", CONFIGS, {}, CHANNELS
    ).policies
    assert [(policy.id, policy.line) for policy in policies.policies] == [
        ("transfer.cedar#0", 2),
        ("transfer.cedar#1", 11),
    ]
    assert policies.policies[0].file == str(CONFIGS / "transfer.cedar")
    for principal, expected in (
        ("data-engineering/my-agent", {"Forward": "transfer.cedar#0"}),
        ("other", {"Approve": "transfer.cedar#1"}),
    ):
        for action, policy in expected.items():
            result = cedarpy.is_authorized(
                {
                    "principal": {"type": "Agent", "id": principal},
                    "action": {"type": "Action", "id": action},
                    "resource": {"type": "Tool", "id": "s/transfer_money"},
                },
                cedarpy.PolicySet.from_str(policies.text),
                [
                    {
                        "uid": {"type": "Tool", "id": "s/transfer_money"},
                        "attrs": {"tool_name": "transfer_money"},
                        "parents": [],
                    }
                ],
            )
            assert result.allowed
            assert [policies.named(reason) for reason in result.diagnostics.reasons] == [policy]


def test_files_come_in_the_order_of_their_names_and_the_inline_text_last() -> None:
    policies = load(
        CONFIGS / "everything.yaml", {"TENANT": "", "FILES_KEY": "k"}, CHANNELS
    ).policies
    assert [policy.id for policy in policies.policies] == [
        "transfer.cedar#0",
        "transfer.cedar#1",
        "own",
    ]
    own = policies.policies[2]
    lines = (CONFIGS / "everything.yaml").read_text().splitlines()
    assert (own.file, lines[own.line - 1].strip()) == (
        str(CONFIGS / "everything.yaml"),
        '@id("own")',
    )


def test_a_positional_name_is_told_and_any_other_kept() -> None:
    policies, _ = loaded(ANY, f'@id("two") {ANY}')
    names = ["policy0", "policy1", "policy2", "policy", "two", "policy²"]
    assert [policies.named(name) for name in names] == [
        "0.cedar#0",
        "two",
        "policy2",
        "policy",
        "two",
        "policy²",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("permit(principal, action\n  resource);", "2:3: not Cedar: unexpected token `resource`"),
        (
            f"{ANY}\n\npermit(principal, action, resource)",
            "3:35: not Cedar: unexpected end of input; a policy ends with `;`",
        ),
        (
            "permit(principal, action, resource)\nwhen { foo.bar };",
            "2:8: not Cedar: invalid member access `foo.bar`, `foo` has no fields or methods",
        ),
        (
            "permit(principal, action, resource)\nwhen {\n  nosuch(1) };",
            "3:3: not Cedar: `nosuch` is not a valid function",
        ),
        (
            'permit(principal, action, resource) when { resource.x like "\\q" };',
            "1:60: not Cedar: the input `\\q` is not a valid escape",
        ),
        (
            '// "a\npermit(principal, action, resource) when { "a };',
            "2:44: not Cedar: invalid token",
        ),
        (f"/* x */ {ANY}", "1:1: not Cedar: unexpected token `/`"),
        (f"{ANY};", "1:37: not Cedar: unexpected token `;`"),
        (
            "forbid(principal == ?principal, action, resource);",
            "1:1: a template (`?principal`) is never linked here; allowed: a plain policy",
        ),
        (
            'forbid(principal in Teams::"x", action, resource);',
            (
                "1:21: no principal has the type `Teams`, so the policy never applies; allowed: "
                "`Agent`, `Team`, `Namespace`; did you mean `Team`?"
            ),
        ),
        (
            "forbid(principal, action, resource is Tol);",
            (
                "1:39: no resource has the type `Tol`, so the policy never applies; allowed: "
                "`Tool`, `Prompt`, `Resource`; did you mean `Tool`?"
            ),
        ),
        (
            'forbid(principal, action, resource is Tool in Tols::"x");',
            (
                "1:47: no resource has the type `Tols`, so the policy never applies; allowed: "
                "`Tool`, `Prompt`, `Resource`; did you mean `Tool`?"
            ),
        ),
        (
            'forbid(principal, action == T::Action::"Forward", resource);',
            (
                '1:40: the gate never asks for `T::Action::"Forward"`, so the policy never '
                'applies; allowed: `Action::"Forward"`, `Action::"Approve"`; did you mean '
                "`Forward`?"
            ),
        ),
        (
            'forbid(principal, action in [Action::"Forward",\n Action::"forwad"], resource);',
            (
                '2:10: the gate never asks for `Action::"forwad"`, so the policy never '
                'applies; allowed: `Action::"Forward"`, `Action::"Approve"`; did you mean '
                "`Forward`?"
            ),
        ),
    ],
)
def test_a_broken_policy_is_placed(text: str, expected: str) -> None:
    assert mistakes(text) == [f"0.cedar:{expected}"]


def test_every_broken_policy_of_every_file_is_reported() -> None:
    assert mistakes(f"permit();\n{ANY}\nforbid(;", "permit") == [
        "0.cedar:1:1: not Cedar: this policy is missing the `principal` variable in the scope",
        "0.cedar:3:8: not Cedar: unexpected token `;`",
        "1.cedar:1:1: not Cedar: unexpected end of input; a policy ends with `;`",
    ]


def test_a_set_that_is_not_as_it_was_cut_is_refused() -> None:
    """No text is known that does this; it would be evaluated under wrong names."""
    cut = CedarPolicies((CedarPolicy("a", ANY + ANY, "f", 1, Guarded(ANY + ANY)),))
    assert [str(mistake) for mistake in _whole(cut)] == ["f: not Cedar: the policies run together"]


def test_an_id_is_taken_once() -> None:
    assert mistakes(f'@id("a") {ANY}', f'\n@id("a") {ANY} @id("0.cedar#0") {ANY}') == [
        "1.cedar:2:1: the id `a` is taken: 0.cedar:1"
    ]
    assert mistakes(ANY, f'@id("0.cedar#0") {ANY}') == [
        "1.cedar:1:1: the id `0.cedar#0` is taken: 0.cedar:1"
    ]


def test_an_id_that_says_nothing_is_none() -> None:
    policies, _ = loaded(f'@id {ANY} @id("") {ANY}')
    assert [policy.id for policy in policies.policies] == ["0.cedar#0", "0.cedar#1"]


@pytest.mark.parametrize(
    "text",
    [
        'permit(principal, action, resource) when { "a;b//" == "c\\";d" };',
        "permit(principal, action, resource) // ; \" '\n;",
        "// a comment ends at CR too\rpermit(principal, action, resource);",
        'permit(principal, action, resource) when { resource.tool_name like "*\\*;" };',
        '@note("when { ; }") permit(principal, action, resource) unless { {a: "}"} has a };',
    ],
)
def test_signs_in_strings_and_comments_cut_nothing(text: str) -> None:
    assert len(list(statements(text))) == 1
    assert mistakes(text) == []


def test_what_would_crash_cedar_is_refused_before_it_is_asked() -> None:
    deep = MAX_NESTING
    nested = f"permit(principal, action, resource) when {{ {'(' * deep}true{')' * deep} }};"
    assert mistakes(nested) == [f"0.cedar:1:1: brackets nest {deep + 1} deep; allowed: at most 64"]
    chain = f"permit(principal, action, resource) when {{ 1{'+1' * MAX_TOKENS} == 1 }};"
    assert mistakes(chain) == [
        f"0.cedar:1:1: the policy has {2 * MAX_TOKENS + 15} tokens; allowed: at most 8000"
    ]


def test_the_largest_policy_that_is_allowed_does_no_harm() -> None:
    names = ",".join(f'"t{n}"' for n in range(MAX_TOKENS // 2 - 20))
    assert mistakes(f"permit(principal,action,resource) when {{ [{names}].contains(1) }};") == []
    chain = "+1" * (MAX_TOKENS // 2 - 20)
    assert mistakes(f"permit(principal,action,resource) when {{ 1{chain} == 1 }};") == []
    has = ".a" * (MAX_TOKENS // 2 - 20)
    assert mistakes(f"permit(principal,action,resource) when {{ context has a{has} }};") == []


SCHEMA = """entity Agent;
entity Tool { tool_name: String };
action Forward, Approve appliesTo { principal: Agent, resource: Tool };
"""


def test_policies_are_checked_against_the_schema_all_of_them() -> None:
    assert mistakes(ANY, schema=SCHEMA) == []
    found = mistakes(
        f"{ANY}\n\nforbid(principal, action, resource) when {{ resource.source == 1 }};",
        "forbid(principal, action, resource) when { resource.tool_name == 1 };",
        schema=SCHEMA,
    )
    assert [line.split(": against")[0] for line in found] == ["0.cedar:3:1", "1.cedar:1:1"]
    assert "attribute `source`" in found[0]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("entity A;\nentity B {", "2:10: not a schema: unexpected end of input"),
        ("entity A;\nentty B;", "2:1: not a schema: unexpected token `entty`"),
        ("entity A { x: Foo };", "1:1: not a schema: failed to resolve type: Foo"),
        (
            "entity A { x: " + "Set<" * 100 + "Long" + ">" * 100 + " };",
            "1:1: not a schema: brackets nest 101 deep; allowed: at most 64",
        ),
    ],
)
def test_a_broken_schema_is_placed(schema: str, expected: str) -> None:
    assert mistakes(ANY, schema=schema) == [f"s.cedarschema:{expected}"]


def test_a_schema_may_be_json() -> None:
    types = '"Agent": {}, "Tool": {}'
    applies = '{"appliesTo": {"principalTypes": ["Agent"], "resourceTypes": ["Tool"]}}'
    text = f'{{"": {{"entityTypes": {{{types}}}, "actions": {{"Forward": {applies}}}}}}}'
    assert mistakes(ANY, schema=text) == []


def test_an_inline_policys_mistake_has_the_line_of_the_configuration(tmp_path: Path) -> None:
    text = ASKING + b"cedar:\n  inline: |\n\n    permit(principal,\n      action resource);\n"
    with pytest.raises(ConfigRefused) as refused:
        load_text(text, "c", tmp_path, {}, CHANNELS)
    assert str(refused.value) == "c:8:14: not Cedar: unexpected token `resource`"


def test_an_approval_by_cedar_without_a_workflow_is_a_warning() -> None:
    text = ASKING + b"cedar: {policies: transfer.cedar}\n"
    warnings = load_text(text, "c", CONFIGS, {}, CHANNELS).warnings
    assert [str(warning) for warning in warnings] == [
        "c:4:8: cedar: a call that a policy lets be approved is denied: no workflow"
    ]
