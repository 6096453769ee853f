"""Servers that coerce against the gate: no spelling of a forbidden value goes on."""

# ruff: noqa: E501  a table is read row by row

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.harness.policy import call, gate, judged
from tests.proxy.core.policy.test_cedar import policy_set
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.cedar import Answer
from thoughtgate_proxy.core.policy.cedar_values import Untranslatable, translated
from thoughtgate_proxy.core.protocol import strict_json

ABOUT = 'permit(principal, action == Action::"Forward", resource);\nforbid(principal, action, resource) when { %s };'
# Each policy, the type that a server declares for `x`, and what the policy forbids of it.
FORBIDDEN: list[tuple[str, type, Callable[[Any], bool]]] = [
    ("resource.arguments.x == 1", int, lambda x: x == 1),
    ("1 == resource.arguments.x", float, lambda x: x == 1),
    ("!(resource.arguments.x != 1)", int, lambda x: x == 1),
    ("resource.arguments.x > 10", int, lambda x: x > 10),
    ("[1, 2].contains(resource.arguments.x)", int, lambda x: x in (1, 2)),
    ("resource.arguments.x == true", bool, lambda x: x is True),
    ("resource.arguments.x", bool, lambda x: x is True),
    ('resource.arguments.x == "1"', str, lambda x: x == "1"),
    ('resource.arguments.x like "1*"', str, lambda x: x.startswith("1")),
    ("resource.arguments.x.contains(1)", list[int], lambda x: 1 in x),
    ("resource.arguments.x == [1]", list[int], lambda x: set(x) == {1}),
    ("resource.arguments.x has a && resource.arguments.x.a == 1", dict[str, int], lambda x: x.get("a") == 1),
    ("resource.arguments.x == {a: 1}", dict[str, int], lambda x: x == {"a": 1}),
    ('resource.numbers.x == decimal("1.0")', float, lambda x: x == 1),
    ('resource.numbers.x.greaterThan(decimal("10.0"))', float, lambda x: x > 10),
    ('resource.numbers has x && resource.numbers.x == decimal("1.0")', float, lambda x: x == 1),
    ("resource.arguments.x == resource.arguments.one", int, lambda x: x == 1),
]  # fmt: skip
WHEN: list[tuple[dict[str, Any], type, Callable[[Any], bool]]] = [
    ({"equals": 1}, int, lambda x: x == 1), ({"over": 10}, float, lambda x: x > 10),
    ({"equals": True}, bool, lambda x: x is True), ({"matches": "1*"}, str, lambda x: x.startswith("1")),
    ({"in": [1, 2]}, int, lambda x: x in (1, 2)), ({"at_least": 1, "at_most": 1}, float, lambda x: x == 1),
]  # fmt: skip
SPELLINGS = [
    "1", "1.0", "1e0", "10e-1", "100E-2", "1.00000000000000000001", "0.99999999999999999999", "true",
    "false", '"1"', '" 1 "', '"1.0"', '"1e0"', '"0x1"', '"01"', '"+1"', '"1_0"', '"true"', '"yes"', '"on"',
    '"t"', '"Y"', '"TRUE"', "[1]", '["1"]', "[true]", "[1.0]", '[1,"1"]', "[[1]]", "[]", "{}", '{"a":1}',
    '{"a":"1"}', '{"a":true}', '{"a":1.0}', '{"a":1,"b":2}', '{"a":null}', "null", '""', '"11"', "11", "11.5",
    "10.00000000000000000000001", "1e2", "1e300", "-1", "-0", "0", "2", "1e-400", '"Infinity"', '"1n"',
    "9007199254740993", "1" + "0" * 25, '"１"', '"1\\u0000"', '"\\t1\\n"', '[1,null]', '[null]', '["01"]',
]  # fmt: skip
NODE = """
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').slice(0, -1);
for (const line of lines) {
  const x = JSON.parse(line), list = Array.isArray(x) ? x.map(Number) : [Number(x)];
  console.log(JSON.stringify([Number(x), String(x), Boolean(x) && x !== 'false', list]));
}
"""


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def denies(when: str) -> Callable[[Any], bool]:
    policies = policy_set(ABOUT % when)

    def asked(value: Any) -> bool:
        arguments = {"x": value, "one": 1}
        return policies.judge(Kind.TOOL, "s", "m", "t", arguments).answer is Answer.DENY

    return asked


def served(text: str, kind: Any) -> Iterator[Any]:
    """What servers make of a value: pydantic's lax mode on bytes, and on what Python parsed."""
    for validate, value in ((adapter(kind).validate_json, text), (adapter(kind).validate_python, json.loads(text))):  # fmt: skip
        try:
            yield validate(value)
        except ValidationError:
            continue
    if kind in (int, float, str) and not isinstance(plain := json.loads(text), dict | list):
        try:
            yield kind(plain if plain is not None else 0)
        except (ValueError, OverflowError):
            return


def check(text: str, when: str, made: Any, forbidden: Callable[[Any], bool]) -> str | None:
    if forbidden(made) and not denies(when)(strict_json.loads(text.encode())):
        return f"{text} goes on under `forbid when {when}`, and a server makes {made!r} of it"
    return None


@pytest.mark.parametrize(
    ("when", "kind", "forbidden"), FORBIDDEN, ids=[row[0] for row in FORBIDDEN]
)
def test_no_spelling_of_a_forbidden_value_goes_on(
    when: str, kind: type, forbidden: Callable[[Any], bool]
) -> None:
    met = 0
    for text in SPELLINGS:
        for made in served(text, kind):
            assert check(text, when, made, forbidden) is None
            met += forbidden(made)
    assert met, "the table has no value that is forbidden"


@pytest.mark.parametrize(("when", "kind", "forbidden"), WHEN)
def test_no_spelling_of_a_value_passes_a_rules_condition(
    when: dict[str, Any], kind: type, forbidden: Callable[[Any], bool]
) -> None:
    rules = [{"match": "t", "action": "deny", "when": {"x": when}}]
    keeper = gate({"defaults": {"action": "forward"}, "rules": rules})
    for text in SPELLINGS:
        asked = call("t")
        # As it is read, so that no digit is lost.
        asked.params["arguments"]["x"] = strict_json.loads(text.encode())
        for made in served(text, kind):
            if forbidden(made):
                assert not judged(keeper, asked).goes_on, (text, when, made)


JSON_TEXTS = st.recursive(
    st.sampled_from(SPELLINGS),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda some: f"[{','.join(some)}]")
        | inner.map(lambda one: f'{{"a":{one}}}')
    ),
    max_leaves=3,
)


@settings(max_examples=1500)
@given(JSON_TEXTS, st.sampled_from(FORBIDDEN))
def test_whatever_the_value_a_coercing_server_is_not_reached_with_it(
    text: str, row: tuple[str, type, Callable[[Any], bool]]
) -> None:
    when, kind, forbidden = row
    for made in served(text, kind):
        if (why := check(text, when, made, forbidden)) is not None:
            pytest.fail(why)


def test_what_cannot_be_translated_is_no_value_of_this_table() -> None:
    for text in SPELLINGS:
        try:
            translated(strict_json.loads(text.encode()))
        except Untranslatable:
            pytest.fail(text)


def node_makes(some: list[str]) -> list[list[Any]]:
    ran = subprocess.run(
        ["node", "-e", NODE], input="\n".join([*some, ""]), capture_output=True, text=True,
        check=True, timeout=300,
    )  # fmt: skip
    return [json.loads(line) for line in ran.stdout.splitlines()]


needs_node = pytest.mark.skipif(
    not any((Path(folder) / "node").exists() for folder in os.get_exec_path()),
    reason="JavaScript's coercion needs node",
)
# Which of Number, String, Boolean and a list of numbers a server of the type takes.
IN_NODE = {int: 0, float: 0, str: 1, bool: 2, list[int]: 3}


def node_differences(some: list[str]) -> list[str]:
    found = []
    for text, made in zip(some, node_makes(some), strict=True):
        for when, kind, forbidden in FORBIDDEN:
            value = made[IN_NODE[kind]] if kind in IN_NODE else None
            if value is not None and (why := check(text, when, value, forbidden)):
                found.append(why)
    return found


@needs_node
def test_no_value_that_javascript_coerces_goes_on() -> None:
    assert node_differences(SPELLINGS) == []


def made_up(count: int, seed: int) -> list[str]:
    chosen = random.Random(seed)  # noqa: S311  for tests
    digits = [
        "0",
        "1",
        "1",
        "2",
        "9",
        ".",
        "e",
        "-",
        "+",
        "00",
        '"',
        " ",
        "true",
        "[",
        "]",
        "x",
        "_",
    ]
    made: list[str] = []
    while len(made) < count:
        text = "".join(chosen.choices(digits, k=chosen.randint(1, 6)))
        text = chosen.choice([text, f'"{text}"', f"[{text}]", f'["{text}"]', f'{{"a":{text}}}'])
        try:
            strict_json.loads(text.encode())
            json.loads(text)
        except ValueError:
            continue
        made.append(text)
    return made


@needs_node
@pytest.mark.long
def test_a_million_values() -> None:
    differing: list[str] = []
    asked = 0
    for seed in range(6):
        some = made_up(10_000, seed)
        differing += node_differences(some)
        for text in some:
            for when, kind, forbidden in FORBIDDEN:
                asked += 1
                differing += [
                    why
                    for made in served(text, kind)
                    if (why := check(text, when, made, forbidden))
                ]
    print(f"cedar: {asked:,} inputs, {len(differing)} differences")
    assert asked > 1_000_000
    assert not differing, differing[:5]
