"""Policies that no guard can make safe are refused at load, with the place and what is allowed."""

# ruff: noqa: E501  a table is read row by row

import pytest

from tests.proxy.core.config.test_cedar import loaded, mistakes
from thoughtgate_proxy.core.config.cedar_text import MAX_TOKENS

X = "resource.arguments.x"


def when(text: str) -> str:
    return f"forbid(principal, action, resource) when {{\n {text}\n}};"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{X} == 1 || {X} == \"1\"", "`resource.arguments.x` is compared as an integer and as a string; allowed: one type in a policy"),
        (f"[1, \"1\"].contains({X})", "compared as an integer and as a string"),
        (f"{X} > 1 && {X}.greaterThan(decimal(\"1.0\"))", "`resource.numbers` has every number as a decimal"),
        (f"{X} in Team::\"a\"", "an argument is never an entity"),
        (f"principal in {X}", "an argument is never an entity"),
        (f"{X} is Json", "an argument is never an entity"),
        (f"{X}.hasTag(\"a\")", "an argument is never an entity"),
        (f"{X} == Team::\"a\"", "compared with what is no boolean, number, string"),
        (f"{X} == principal.labels", "compared with what is no boolean, number, string"),
        (f"{X} == ip(\"10.0.0.1\")", "compared with what is no boolean, number, string"),
        (f"{X}.isLoopback()", "never of this type"),
        (f"{{a: {X}}} == {{a: 1}}", "compared with what is no boolean"),
        (f"{{a: {X}}}.a == 1", "compared with what is no boolean"),
        (f"(if {X} then {X} else false) == true", "compared with what is no boolean"),
        (f"(if true then {X} else {X}) has a", "`has` of what may or may not be an argument"),
        (f"[[1]].contains({X}) && {X} == [[1]]", "a list among the arguments"),
        (f"[{X}] == [1]", "compared with what is no boolean"),
        ("Tool::\"src/t\".arguments.x == 1", "compared with what is no boolean"),
        ("(if true then resource else resource).arguments.x == 1", "compared with what is no boolean"),
        ("resource.numbers.x == 1", "`resource.numbers.x` is a decimal; allowed: to compare it with `decimal(\"1.0\")`"),
        ("resource.argument.x == 1", "`resource` has no attribute `argument`, so the policy always errs; allowed: `source`, `method`, `tool_name`, `arguments`, `numbers`; did you mean `arguments`?"),
        ("resource.kinds.x == 1", "`resource` has no attribute `kinds`"),
        ("principal.team == \"a\"", "`principal` has no attribute `team`"),
        ("context.time > 1", "`context` has no attributes here: found `time`"),
        (" && ".join([f"{X} == 1"] * 120), "the policy nests more than 100 operators"),
        ("1" + "+1" * 2000 + f" == {X}", "the policy nests more than 100 operators"),
    ],
)  # fmt: skip
def test_what_cannot_be_guarded_is_refused(text: str, why: str) -> None:
    (mistake,) = mistakes(when(text))
    assert why in mistake
    assert mistake.startswith(("0.cedar:2:", "0.cedar:1:1: "))


def test_a_chain_of_a_hundred_comparisons_of_the_name_loads() -> None:
    names = " || ".join(f'resource.tool_name == "t{n}"' for n in range(300))
    assert mistakes(when(names)) == []


def test_a_chain_of_eighty_comparisons_of_arguments_loads() -> None:
    assert mistakes(when(" && ".join(f"{X}{n} == {n}" for n in range(80)))) == []


def test_a_policy_that_reads_no_argument_is_evaluated_as_it_is_written() -> None:
    text = when('principal in Team::"a" && resource.tool_name like "a*" || context == {}')
    (policy,) = loaded(text)[0].policies
    assert policy.guarded.text == text
    assert not policy.guarded.reads


def test_the_paths_that_a_policy_reads_are_known() -> None:
    policies, _ = loaded(
        when("resource.arguments has a.b"),
        when('resource.arguments["c d"].e == {f: 1} && resource.numbers has g'),
    )
    assert policies.reads == {
        ("a",), ("a", "b"), ("c d",), ("c d", "e"), ("c d", "e", "f"), ("g",),
    }  # fmt: skip
    assert policies.values == {("c d", "e")}
    assert policies.attributes == {"arguments", "numbers", "kinds"}


def test_a_long_list_written_out_costs_one_guard() -> None:
    names = ",".join(f'"t{n}"' for n in range(MAX_TOKENS // 2 - 40))
    (policy,) = loaded(when(f"[{names}].contains({X})"))[0].policies
    assert len(policy.guarded.text) < 2 * len(policy.text)
