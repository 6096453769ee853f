"""A policy errs, in words, where an argument has another type than it is compared with."""

# ruff: noqa: E501, ISC004  a table is read row by row

from decimal import Decimal
from typing import Any

import pytest

from tests.proxy.core.policy.test_cedar import forward, judge
from thoughtgate_proxy.core.policy.cedar import Answer, Judgement

EVERYONE = forward("true")


def forbidding(when: str, arguments: Any) -> Judgement:
    return judge(EVERYONE + '@id("no") ' + forward(when, "forbid"), arguments)


@pytest.mark.parametrize(
    ("when", "value", "why"),
    [
        ("P == 1", "1", "`resource.arguments.x` is a string, expected an integer"),
        ("1 == P", "1", "`resource.arguments.x` is a string, expected an integer"),
        ("P == 1", True, "`resource.arguments.x` is a boolean, expected an integer"),
        ("P == 1", None, "`resource.arguments.x` is null, expected an integer"),
        ("P == 1", [1], "`resource.arguments.x` is a list, expected an integer"),
        ("P == 1", {"a": 1}, "`resource.arguments.x` is an object, expected an integer"),
        (
            "P == 1", Decimal("1.00000000000000000001"),
            "`resource.arguments.x` is a number that Cedar cannot hold, expected an integer; a "
            'policy for both compares `resource.numbers.x` with `decimal("1.0")`',
        ),
        (
            "P > 1000", Decimal("1000.5"),
            "`resource.arguments.x` is a number with a fraction, expected an integer; a policy for "
            'both compares `resource.numbers.x` with `decimal("1.0")`',
        ),
        ("P != 1", "1", "`resource.arguments.x` is a string, expected an integer"),
        ("P == true", "yes", "`resource.arguments.x` is a string, expected a boolean"),
        ("P", 1, "`resource.arguments.x` is an integer, expected a boolean"),
        ('P == "1"', 1, "`resource.arguments.x` is an integer, expected a string"),
        ('P like "a*"', ["a"], "`resource.arguments.x` is a list, expected a string"),
        ("P == principal.pod", 1, "`resource.arguments.x` is an integer, expected a string"),
        ("P == principal.labels.app", 1, "`resource.arguments.x` is an integer, expected a string"),
        ("P == resource.source", None, "`resource.arguments.x` is null, expected a string"),
        ('P == decimal("1.5")', "1.5", "`resource.arguments.x` is a string, expected a number with a fraction"),
        ("[1, 2].contains(P)", "1", "`resource.arguments.x` is a string, expected an integer"),
        ("[1, 2].containsAll(P)", ["1"], "`resource.arguments.x` holds a string, expected integers alone"),
        ("P.contains(1)", ["1"], "`resource.arguments.x` holds a string, expected integers alone"),
        ("P.contains(1)", 1, "`resource.arguments.x` is an integer, expected a list of integers"),
        ("P.containsAny([1])", [1, None], "`resource.arguments.x` holds null, expected integers alone"),
        ("P.isEmpty()", "", "`resource.arguments.x` is a string, expected a list"),
        ("P == [1]", ["1"], "`resource.arguments.x` holds a string, expected integers alone"),
        ("P == []", "", "`resource.arguments.x` is a string, expected a list"),
        ("P == {a: 1}", {"a": "1"}, "`resource.arguments.x.a` is a string, expected an integer"),
        ("P == {a: 1}", None, "`resource.arguments.x` is null, expected an object"),
        ("P has admin", None, "`resource.arguments.x` is null, expected an object"),
        ("P has admin", [1], "`resource.arguments.x` is a list, expected an object"),
        ("N has admin", None, "`resource.arguments.x` is null, expected an object"),
        ("P == resource.arguments.y", "7", "`resource.arguments.x` and `resource.arguments.y` are of two types"),
        ("resource.arguments.l.contains(P)", "7", "`resource.arguments.l` and `resource.arguments.x` are of two types"),
        ('N.greaterThan(decimal("1.0"))', "2", "`resource.numbers.x` is a string, expected a number"),
        ('N.greaterThan(decimal("1.0"))', 10**15, "`resource.numbers.x` is a number that no decimal holds exactly"),
        ('N.greaterThan(decimal("1.0"))', Decimal("1.00001"), "`resource.numbers.x` is a number that no decimal holds exactly"),
        ('N == decimal("1.0")', {}, "`resource.numbers.x` is an object, expected a number"),
        ('N.contains(decimal("1.0"))', [1, "1"], "`resource.numbers.x` holds a string, expected numbers with a fraction alone"),
        ('resource.arguments has x && N == decimal("1.0")', "1", "`resource.numbers.x` is a string, expected a number"),
        ('resource.numbers has x && N == decimal("1.0")', "1", "`resource.numbers.x` is a string, expected a number"),
        ("resource.numbers has x && N == decimal(\"1.0\")", Decimal("1.00000001"), "`resource.numbers.x` is a number that no decimal holds exactly"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_another_type_denies_and_the_value_is_told_by_its_path(
    when: str, value: Any, why: str, effect: str
) -> None:
    text = when.replace("P", "resource.arguments.x").replace("N", "resource.numbers.x")
    judgement = judge(
        EVERYONE + '@id("no") ' + forward(text, effect), {"x": value, "y": 7, "l": [7]}
    )
    assert judgement == Judgement(Answer.DENY, judgement.policies, (f"policy `no`: {why}",))


@pytest.mark.parametrize(
    ("when", "value", "meets"),
    [
        ("P == 1", 1, True), ("P == 1", 2, False), ("P != 1", 2, True), ("1 == P", Decimal("1.0"), True),
        ("P == true", False, False), ("P == false", False, True), ('P == "a"', "a", True),
        ('P == "a"', "b", False), ('P == decimal("1.5")', Decimal("1.5"), True),
        ("[1, 2].contains(P)", 2, True), ("[1, 2].contains(P)", 3, False),
        ("P.contains(1)", [], False), ("P.contains(1)", [2, 1], True), ("P == []", [], True),
        ("P == []", [None], False), ("P.containsAll([1, 2])", [2, 1, 3], True),
        ("P == [1, 2]", [2, 1], True), ("P.containsAny([\"a\"])", ["b"], False),
        ("P == {a: 1, b: \"x\"}", {"a": 1, "b": "x"}, True), ("P == {a: 1}", {"a": 1, "b": 2}, False),
        ("P == {a: 1}", {}, False), ("P == {a: {b: 1}}", {"a": {"b": 1}}, True),
        ("resource.arguments == {x: 1, y: 7, l: [7]}", 1, True),
        ("P has a && P.a == 1", {"a": 1}, True), ("P has a.b", {"a": {"b": None}}, True),
        ("P has a.b", {}, False), ("P == resource.arguments.y", 7, True),
        ("P == resource.arguments.y", 8, False), ("P == resource.arguments.x", None, True),
        ("resource.arguments.l.contains(P)", 7, True), ("P.containsAny(resource.arguments.l)", [7], True),
        ('N.lessThanOrEqual(decimal("1000.0"))', 10, True),
        ('N.lessThanOrEqual(decimal("1000.0"))', Decimal("10.5"), True),
        ('N.lessThanOrEqual(decimal("1000.0"))', 1001, False), ('N == decimal("1.0")', 1, True),
        ('N.contains(decimal("1.0"))', [1, Decimal("2.5")], True), ("N has a", {"a": None}, True),
        ("resource.numbers has x", "text", True), ("resource.numbers has z", 1, False),
        ("N == P", Decimal("1.5"), True), ('if P then true else resource.source == "b"', False, False),
        ("P == principal.labels.app", "my-agent", True), ("[P, 2].contains(3)", 3, True),
        ('resource.source == "other" && P == 1', "a string that is never looked at", False),
        ('resource.source == "src" || P == 1', "a string that is never looked at", True),
        ("P == -9223372036854775808", -(2**63), True), ("P - 1 == 2", 3, True),
        ('P["odd \\"key"] == 1', {'odd "key': 1}, True),
    ],
)  # fmt: skip
def test_a_value_of_the_type_is_compared_as_ever(when: str, value: Any, meets: bool) -> None:
    text = when.replace("P", "resource.arguments.x").replace("N", "resource.numbers.x")
    arguments = {"x": value, "y": 7, "l": [7]}
    denied = Judgement(Answer.DENY, ("no",))
    assert forbidding(text, arguments) == (
        denied if meets else Judgement(Answer.FORWARD, ("p.cedar#0",))
    )
    allowed = judge(forward(text), arguments)
    assert allowed == Judgement(Answer.FORWARD, ("p.cedar#0",)) if meets else Judgement(Answer.DENY)


def test_of_several_wrong_values_the_one_is_told_that_cedar_met() -> None:
    when = "resource.arguments has b && resource.arguments.a && resource.arguments.b > 1"
    told = forbidding(when, {"a": True, "b": "1"}).errors
    assert told == ("policy `no`: `resource.arguments.b` is a string, expected an integer",)
    either = 'resource.source == "other" && resource.arguments.a == 1 || resource.arguments.b'
    assert "`resource.arguments.b`" in forbidding(either, {"a": "1", "b": 1}).errors[0]


def test_an_argument_that_is_not_there_is_told_by_cedar() -> None:
    (error,) = forbidding("resource.arguments.x == 1", {}).errors
    assert "policy `no`" in error
    assert "does not have the attribute `x`" in error
