"""Checks of a rule's `when`: conditions that could never be met, or never be told."""

from decimal import Decimal
from typing import Any

from thoughtgate_proxy.core.config.mistakes import Findings, Place
from thoughtgate_proxy.core.config.values import Condition, Kind, Rule

_ORDER = ("over", "under", "at_least", "at_most")
_TYPES = {str: "a text", bool: "a boolean", Decimal: "a number"}


def check_when(rule: Rule, place: Place, findings: Findings) -> None:
    """Note what is wrong with the conditions of one rule."""
    at = (*place, "when")
    if at not in findings.marks or findings.spoiled(at):
        return
    if rule.kind is Kind.RESOURCE and not findings.spoiled((*place, "kind")):
        findings.mistake(at, "a resource has no arguments; allowed: with tools and prompts")
    if not rule.when:
        findings.mistake(at, "no condition stands here; required: at least one argument's path")
    for path, condition in rule.when.items():
        if not findings.spoiled((*at, path)):
            _condition(condition, (*at, path), findings)


def _condition(condition: Condition, at: Place, findings: Findings) -> None:
    given = {name: value for name, value in _given(condition) if (*at, name) in findings.marks}
    if any(findings.spoiled((*at, name)) for name in given):
        return
    members = [(*at, "in", index) for index in range(len(condition.one_of))]
    if findings.spoiled(*members):
        return
    if not given:
        findings.mistake(at, "no condition stands here; required: such as `{over: 1000}`")
    if "in" in given and not condition.one_of:
        findings.mistake((*at, "in"), "the list is empty, so this never holds; required: one value")
    if condition.present is False and len(given) > 1:
        findings.mistake(at, "what is not present is nothing else; allowed: `present: false` alone")
    types = {_TYPES[type(value)] for values in given.values() for value in values}
    if len(types) > 1:
        found = " and ".join(sorted(types))
        findings.mistake(at, f"no value is {found} at once; allowed: one type for an argument")


def _given(condition: Condition) -> list[tuple[str, tuple[Any, ...]]]:
    """Each condition's name, and the values that it compares with."""
    numbers = [(name, (getattr(condition, name),)) for name in _ORDER]
    return [
        ("equals", (condition.equals,)),
        ("in", condition.one_of),
        *numbers,
        ("matches", (condition.matches,)),
        ("present", ()),
    ]
