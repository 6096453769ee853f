"""Gates 1 and 2: what exists for the agent, and the first rule that matches."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.policy import gate
from tests.proxy.core.policy.test_glob import naive
from thoughtgate_proxy.core.config.values import (
    Action,
    Defaults,
    Expose,
    ExposeMode,
    Governance,
    Kind,
    Rule,
)
from thoughtgate_proxy.core.policy.rules import Applied, Conflict, Matching, Rules
from thoughtgate_proxy.core.policy.visibility import Visibility


def rules(*given: dict[str, Any], default: str = "deny", source: str = "upstream") -> Rules:
    file = {"defaults": {"action": default}, "rules": list(given)}
    return Rules(gate(file).config.governance, source)


def number(found: Matching | Conflict) -> int | None:
    assert isinstance(found, tuple)
    (applied,) = found
    return applied.number


def test_the_first_rule_that_matches_counts() -> None:
    some = rules(
        {"match": "admin_read", "action": "forward"},
        {"match": "admin_*", "action": "deny"},
        {"match": "*", "action": "forward"},
    )
    assert number(some.matching(Kind.TOOL, "admin_read")) == 0
    assert number(some.matching(Kind.TOOL, "admin_reader")) == 1
    assert number(some.matching(Kind.TOOL, "other")) == 2


def test_where_none_matches_the_default_applies() -> None:
    found = rules({"match": "a", "action": "deny"}, default="forward").matching(Kind.TOOL, "b")
    assert found == (Applied(None, None, Action.FORWARD),)


def test_a_rule_for_one_kind_or_source_leaves_the_others_alone() -> None:
    governance = Governance(
        defaults=Defaults(action=Action.FORWARD),
        rules=(
            Rule(match="*", action=Action.DENY, kind=Kind.PROMPT),
            Rule(match="*", action=Action.DENY, source="other"),
            Rule(match="x", action=Action.DENY),
        ),
    )
    here, there = Rules(governance, "here"), Rules(governance, "other")
    assert [number(here.matching(kind, "a")) for kind in Kind] == [None, 0, None]
    assert [number(there.matching(kind, "a")) for kind in Kind] == [1, 0, 1]
    assert number(here.matching(Kind.TOOL, "x")) == 2


SECRET = [{"match": "file:///secret/*", "action": "deny"}, {"match": "*", "action": "forward"}]
PUBLIC = [{"match": "docs://public/*", "action": "forward"}]


@pytest.mark.parametrize(
    "uri",
    [
        "FILE:///secret/x", "file:///public/../secret/x", "file:///%73ecret/x", "file:///./secret/x",
        "file:///public/%2e%2e/secret/x", "file:///public/..%2fsecret/x", "file:/secret/x",
        "file:///public//../secret/x", "file:///public\\..\\secret\\x", "file://localhost/secret/x",
        "file:///public/%252e%252e/secret/x",
    ],
)  # fmt: skip
def test_a_uri_that_some_server_reads_as_a_denied_one_is_refused(uri: str) -> None:
    assert isinstance(rules(*SECRET).matching(Kind.RESOURCE, uri), Conflict)


@pytest.mark.parametrize("uri", ["docs://public/../secret", "docs://public/..%2Fsecret"])
def test_a_uri_that_some_server_reads_as_outside_of_what_is_allowed_is_refused(uri: str) -> None:
    found = rules(*PUBLIC).matching(Kind.RESOURCE, uri)
    assert found == Conflict(0, None, "docs://secret")


def test_a_uri_whose_readings_meet_the_same_rule_passes() -> None:
    assert number(rules(*SECRET).matching(Kind.RESOURCE, "FILE:///a/../b")) == 1


def test_the_name_of_a_tool_is_no_uri() -> None:
    some = rules({"match": "a/b", "action": "forward"})
    assert number(some.matching(Kind.TOOL, "a/c/../b")) is None
    assert isinstance(some.matching(Kind.RESOURCE, "a/c/../b"), Conflict)


def test_names_that_an_agent_makes_up_do_not_fill_the_memory() -> None:
    some = rules({"match": "n*", "action": "forward"})
    for n in range(5000):
        some.matching(Kind.TOOL, f"n{n}")
        some.matching(Kind.RESOURCE, f"u:{n}" + "x" * 4000)
    assert 0 < len(some._known) <= 4096
    assert some._known.get((Kind.RESOURCE, "u:4999" + "x" * 4000)) is None
    assert number(some.matching(Kind.TOOL, "n1")) == number(some.matching(Kind.TOOL, "n1")) == 0


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        (ExposeMode.ALL, ["get_a", "get_b", "delete"]),
        (ExposeMode.ALLOWLIST, ["get_a", "get_b"]),
        (ExposeMode.BLOCKLIST, ["delete"]),
    ],
)
def test_a_source_exposes_what_its_mode_says(mode: ExposeMode, shown: list[str]) -> None:
    visibility = Visibility(Expose(mode=mode, tools=("get_*",)))
    assert [name for name in ("get_a", "get_b", "delete") if visibility.shows(name)] == shown


def test_an_empty_allowlist_shows_nothing() -> None:
    assert not Visibility(Expose(mode=ExposeMode.ALLOWLIST)).shows("a")
    assert Visibility(Expose(mode=ExposeMode.BLOCKLIST)).shows("a")


@settings(max_examples=100)
@given(st.lists(st.text("ab*?", min_size=1, max_size=4), max_size=4), st.text("ab", max_size=5))
def test_a_blocklist_hides_exactly_what_an_allowlist_shows(globs: list[str], name: str) -> None:
    allow = Visibility(Expose(mode=ExposeMode.ALLOWLIST, tools=tuple(globs)))
    block = Visibility(Expose(mode=ExposeMode.BLOCKLIST, tools=tuple(globs)))
    assert allow.shows(name) is any(naive(glob, name) for glob in globs)
    assert block.shows(name) is not allow.shows(name)


def test_a_rule_with_conditions_that_one_reading_of_a_uri_meets_is_a_conflict() -> None:
    some = rules(
        {"match": "docs://private/*", "action": "deny", "when": {"user": {"equals": "bob"}}},
        {"match": "docs://*", "action": "forward"},
    )
    for uri in ("docs://public/..%2Fprivate/x", "docs://private%2Fx"):
        found = some.matching(Kind.RESOURCE, uri)
        assert isinstance(found, Conflict), uri
        assert {found.raw, found.other} == {0, 1}
    assert isinstance(some.matching(Kind.RESOURCE, "docs://public/x"), tuple)
