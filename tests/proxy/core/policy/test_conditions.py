"""A rule's `when`: true, false, or undecided, and never the less strict answer of two."""

# ruff: noqa: E501  a table is read row by row

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.policy import call, gate, judged
from thoughtgate_proxy.core.config.values import Condition
from thoughtgate_proxy.core.policy.conditions import Conditions, Settled
from thoughtgate_proxy.core.policy.decision import Gate, Outcome

AMOUNT = {"amount": {"over": 1000}}


def settled(condition: Condition, arguments: Any, path: str = "a") -> bool | None:
    return Conditions({path: condition}).settle(arguments).holds


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (Condition(over=Decimal(1)), 2, True), (Condition(over=Decimal(1)), 1, False),
        (Condition(under=Decimal(1)), 0, True), (Condition(under=Decimal(1)), 1, False),
        (Condition(at_least=Decimal(1)), 1, True), (Condition(at_most=Decimal(1)), 1, True),
        (Condition(at_least=Decimal(1)), 0, False), (Condition(at_most=Decimal(1)), 2, False),
        (Condition(over=Decimal(1), under=Decimal(3)), 2, True),
        (Condition(over=Decimal(1), under=Decimal(3)), 3, False),
        (Condition(equals=Decimal(1)), True, None), (Condition(equals=True), 1, None),
        (Condition(equals=False), False, True), (Condition(equals=False), True, False),
        (Condition(equals="1"), 1, None), (Condition(equals=Decimal(1)), "1", None),
        (Condition(equals=Decimal(1)), Decimal("1.0"), True),
        (Condition(one_of=("a", "b")), "b", True), (Condition(one_of=("a", "b")), "c", False),
        (Condition(matches="a*"), "ab\nc", True), (Condition(matches="a*"), "b", False),
        (Condition(matches="a*"), ["a"], None), (Condition(matches="a*"), None, None),
        (Condition(present=True), None, True), (Condition(present=False), None, False),
        (Condition(present=True, over=Decimal(1)), None, None),
        (Condition(over=Decimal(2**53)), 2**53 + 1, None), (Condition(over=Decimal(2**53)), 2**53 + 2, True),
        (Condition(equals=Decimal(1)), Decimal("1.00000000000000000001"), None),
        (Condition(equals=Decimal("0.1")), Decimal("0.1"), True), (Condition(over=Decimal(10)), Decimal("1e9999"), True),
        (Condition(equals=Decimal("1e999")), Decimal("1e999"), True),
        (Condition(over=Decimal(1)), Decimal("1e999999999999"), True),
    ],
)  # fmt: skip
def test_a_condition_is_true_false_or_undecided(
    condition: Condition, value: Any, holds: bool | None
) -> None:
    assert settled(condition, {"a": value}) is holds


@pytest.mark.parametrize(
    ("arguments", "there", "compared"),
    [
        ({"a": {"b": 1}}, True, True), ({"a": {}}, False, None), ({}, False, None),
        ({"a": [{"b": 1}]}, False, None), ({"a": None}, False, None), ({"a.b": 1}, False, None),
    ],
)  # fmt: skip
def test_a_path_leads_through_objects_alone(
    arguments: Any, there: bool, compared: bool | None
) -> None:
    assert settled(Condition(present=True), arguments, "a.b") is there
    assert settled(Condition(present=False), arguments, "a.b") is not there
    assert settled(Condition(equals=Decimal(1)), arguments, "a.b") is compared


def test_the_reason_tells_path_and_kind_and_no_value() -> None:
    conditions = Conditions({"a.b": Condition(equals="x")})
    assert conditions.settle({"a": ["SECRET"]}) == Settled(
        None, "`a.b` has a list on the way to it"
    )
    assert conditions.settle({"a": {"b": {}}}).why == "`a.b` is an object, expected a text"
    assert conditions.settle({"a": {"b": "SECRET"}}).why == "`a.b` is not what it must equal"


SCALARS = st.sampled_from(["", "1", "a", "ab", True, False, Decimal(1), Decimal("1.5")])
VALUES = st.recursive(
    SCALARS | st.none() | st.integers(-2, 3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
BOUNDS = st.sampled_from([None, Decimal(0), Decimal(1), Decimal("1.5")])
CONDITIONS = st.one_of(
    st.builds(lambda value: Condition(equals=value), SCALARS),
    st.builds(lambda over, at_most: Condition(over=over, at_most=at_most), BOUNDS, BOUNDS),
    st.builds(lambda glob: Condition(matches=glob), st.sampled_from(["a*", "?", "*"])),
    st.builds(lambda there: Condition(present=there), st.booleans()),
)


def naive(condition: Condition, keys: list[str], arguments: Any) -> bool | None:
    """The contract, one sentence after the other."""
    value, there = arguments, True
    for key in keys:
        there = there and isinstance(value, dict) and key in value
        value = value[key] if there else None
    if condition.present is not None:
        return condition.present == there
    if not there or value is None or isinstance(value, list | dict):
        return None
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if condition.matches is not None:
        if not isinstance(value, str):
            return None
        return {"a*": value.startswith("a"), "?": len(value) == 1, "*": True}[condition.matches]
    if condition.equals is not None:
        wanted = condition.equals
        if is_number and isinstance(wanted, Decimal):
            return Fraction(value) == Fraction(wanted)
        return value == wanted if type(value) is type(wanted) else None
    if condition.over is None and condition.at_most is None:
        return True
    if not is_number:
        return None
    over = condition.over is None or Fraction(value) > Fraction(condition.over)
    return over and (condition.at_most is None or Fraction(value) <= Fraction(condition.at_most))


@settings(max_examples=600)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "a.b", "b.a"]), CONDITIONS, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from("ab"), VALUES),
)
def test_conditions_settle_as_a_naive_reading_of_the_contract_does(
    when: dict[str, Condition], arguments: dict[str, Any]
) -> None:
    each = [
        True if condition == Condition() else naive(condition, path.split("."), arguments)
        for path, condition in when.items()
    ]
    expected = False if False in each else None if None in each else True
    assert Conditions(when).settle(arguments).holds is expected


ACTIONS = ["forward", "approve", "deny"]
STRICT = {Outcome.FORWARD: 0, Outcome.HOLD: 1, Outcome.DENY: 2}


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from("nyu")), max_size=4),
    st.sampled_from(ACTIONS),
)
def test_of_all_answers_that_are_possible_the_strictest_stands(
    given_rules: list[tuple[str, str]], default: str
) -> None:
    conditions = {
        "n": {"a": {"equals": 2}}, "y": {"a": {"equals": 1}}, "u": {"b": {"equals": 1}},
    }  # fmt: skip
    rules = [{"match": "*", "action": action, "when": conditions[w]} for action, w in given_rules]
    keeper = gate({"defaults": {"action": default}, "rules": rules})
    possible = []
    for action, w in [*given_rules, (default, "y")]:
        if w != "n":
            possible.append(ACTIONS.index(action))
        if w == "y":
            break
    decision = judged(keeper, call("t", {"a": 1, "b": "1"}))
    assert STRICT[decision.outcome] == max(possible)


def test_the_limit_of_a_rule_whose_condition_does_not_hold_counts_nothing() -> None:
    rules = [{"match": "*", "action": "forward", "limit": "1/m", "when": AMOUNT}]
    keeper = gate({"defaults": {"action": "forward"}, "rules": rules})
    few, many = call("t", {"amount": 1}), call("t", {"amount": 1001})
    assert [judged(keeper, few).goes_on for _ in range(3)] == [True] * 3
    assert judged(keeper, many).rule == 0
    assert judged(keeper, many).gate is Gate.LIMIT
    # It cannot be told whether the rule applies, and with it the call would be over the limit.
    assert judged(keeper, call("t", {"amount": "1"})).gate is Gate.LIMIT
    assert judged(keeper, few).goes_on


def test_a_name_is_matched_once_and_its_arguments_each_time() -> None:
    keeper = gate(
        {
            "defaults": {"action": "forward"},
            "rules": [{"match": "t", "action": "deny", "when": AMOUNT}],
        }
    )
    amounts = (1001, 1, 1001, 1)
    assert [judged(keeper, call("t", {"amount": amount})).goes_on for amount in amounts] == [
        False, True, False, True,
    ]  # fmt: skip
