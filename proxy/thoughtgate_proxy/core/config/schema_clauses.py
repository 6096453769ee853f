"""What one place of a configuration asks of another, as JSON Schema can say it.

Each clause is a check of `checks` or `workflows` in another language; a test holds them together.
"""

from typing import Any, Final

import msgspec

from thoughtgate_proxy.core.config.values import (
    Action,
    CedarSettings,
    Config,
    Credential,
    Expose,
    ExposeMode,
    Rule,
)
from thoughtgate_proxy.core.config.workflows import WorkflowTypes

Clause = dict[str, Any]


def _given(*keys: str) -> Clause:
    return {"required": list(keys)}


def _either(*keys: str) -> Clause:
    return {"anyOf": [_given(key) for key in keys]}


def _none(*keys: str) -> Clause:
    return {"not": _either(*keys)}


def _is(key: str, *values: str) -> Clause:
    """Holds where `key` stands and is one of `values`."""
    return {"properties": {key: {"enum": list(values)}}, **_given(key)}


def _if(condition: Clause, then: Clause) -> Clause:
    return {"if": condition, "then": then}


def _asked(action: Action) -> Clause:
    """Holds where the default or a rule has the action."""
    has = _is("action", action.value)
    default = {"properties": {"defaults": has}, **_given("defaults")}
    rule = {"properties": {"rules": {"type": "array", "contains": has}}, **_given("rules")}
    return {"properties": {"governance": {"anyOf": [default, rule]}}, **_given("governance")}


def _approvers(pattern: str) -> Clause:
    return {"properties": {"approvers": {"items": {"pattern": rf"^(?:{pattern})$|\$\{{"}}}}


_SOME_POLICIES = _either("policies", "inline")
_TOOLS = ExposeMode.ALLOWLIST.value, ExposeMode.BLOCKLIST.value
_OFF = {"properties": {"enabled": {"enum": [False, "no", "No", "NO", "off", "Off", "OFF"]}}}

CLAUSES: Final[dict[type[msgspec.Struct], Clause]] = {
    Config: {
        "allOf": [
            {"properties": {"sources": {"contains": {"not": {**_OFF, **_given("enabled")}}}}},
            _if(
                _asked(Action.POLICY),
                {"properties": {"cedar": _SOME_POLICIES}, **_given("cedar")},
            ),
            _if(
                _asked(Action.APPROVE),
                {"properties": {"approval": {"minProperties": 1}}, **_given("approval")},
            ),
        ]
    },
    Credential: {"oneOf": [_given("env"), _given("file")]},
    Expose: {
        "allOf": [
            _if(_is("mode", ExposeMode.ALL.value), _none("tools")),
            _if(_is("mode", *_TOOLS), _given("tools")),
        ]
    },
    Rule: {
        "allOf": [_if(_is("action", Action.FORWARD.value, Action.DENY.value), _none("approval"))]
    },
    CedarSettings: {"allOf": [_if(_given("schema"), _SOME_POLICIES)]},
}


def workflow_clause(types: WorkflowTypes) -> Clause:
    """What a workflow's keys ask of each other: each adapter has keys and approvers of its own."""
    every = frozenset[str]().union(*(kind.own_keys for kind in types.values()))
    clauses = [
        {"properties": {"approvers": {"minItems": 1, "uniqueItems": True}}},
        _if(
            {"properties": {"required": {"minimum": 2}}, **_given("required")}, _given("approvers")
        ),
    ]
    for name, kind in types.items():
        fields = msgspec.structs.fields(kind.keys)
        required = [field.encode_name for field in fields if field.required]
        others = sorted(every - kind.own_keys)
        then = {**_given(*required), **_approvers(kind.approver)}
        clauses.append(_if(_is("adapter", name), then | (_none(*others) if others else {})))
    return {"allOf": clauses}
