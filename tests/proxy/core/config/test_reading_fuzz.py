"""Whatever stands in the file, it is taken or refused with lines; nothing else ever happens."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.proxy.core.config.test_reading import CONFIGS
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.config.cedar import CedarText, load_policies
from thoughtgate_proxy.core.config.mistakes import ConfigRefused
from thoughtgate_proxy.runtime.config_loader import load_text

EVERYTHING = (CONFIGS / "everything.yaml").read_text()
KEYS = sorted({
    "schema", "sources", "id", "kind", "url", "enabled", "expose", "mode", "tools", "headers",
    "env", "file", "prefix", "timeouts", "connect", "governance", "defaults", "action", "rules",
    "match", "source", "approval", "limit", "default", "adapter", "channel", "timeout",
    "approvers", "required", "mention", "cedar", "policies", "inline", "audit", "limits", "batch",
})  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.text(max_size=8),
    st.sampled_from([
        "a", "b", "mcp", "http://a", "allowlist", "all", "forward", "approve", "policy", "slack",
        "page", "#x", "U12", "anna", "5m", "20/m", "*", "transfer.cedar", "*.cedar", "${A}",
        "permit(principal, action, resource);", "permit(",
    ]),
)  # fmt: skip
TREES = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=25,
)


def outcome(data: bytes) -> list[str]:
    try:
        load_text(data, "c", CONFIGS, {"A": "a", "FILES_KEY": "k", "TENANT": "t"}, CHANNELS)
    except ConfigRefused as refused:
        lines = [str(mistake) for mistake in refused.mistakes]
        assert lines, "refused without a reason"
        assert all(line.isprintable() for line in lines)
        assert len(set(lines)) == len(lines)
        return lines
    return []


def test_the_text_that_is_varied_is_good() -> None:
    assert outcome(EVERYTHING.encode()) == []


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    outcome(data)


@given(st.text(max_size=200))
@example("a: &x\n")
@example("? ")
@example("- - - a: *x")
@example("a: !<tag:x> b")
@example("%TAG ! tag:x\n---\na: !b c")
@example("\u2028a: b")
def test_any_text(text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"))


@given(TREES)
@settings(max_examples=300)
def test_any_tree(tree: object) -> None:
    outcome(json.dumps(tree).encode())


@given(st.dictionaries(st.sampled_from(KEYS), TREES), st.data())
@settings(max_examples=300)
def test_any_value_in_the_place_of_a_good_one(
    extra: dict[str, object], data: st.DataObject
) -> None:
    """Everything good but for what one place holds: the checks meet half a configuration."""
    lines = EVERYTHING.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    key, sign, _ = lines[number].partition(":")
    value = data.draw(TREES)
    lines[number] = f"{key}: {json.dumps(value)}" if sign else json.dumps(extra)
    outcome("\n".join(lines).encode())


@given(st.integers(0, len(EVERYTHING)), st.integers(0, 80), st.text(max_size=3))
@settings(max_examples=300)
def test_any_cut_and_any_insertion(start: int, length: int, text: str) -> None:
    outcome((EVERYTHING[:start] + text + EVERYTHING[start + length :]).encode("utf-8", "replace"))


TOKENS = st.sampled_from([
    "permit", "forbid", "(", ")", "principal", "action", "resource", ",", ";", "when", "{", "}",
    "==", "in", "is", "Agent", "::", '"x"', 'Action::"Forward"', "has", "like", "//", "\n", '"',
    "@id", "?principal", "1", ".", "context", "[", "]", "if", "then", "else", "!", "é", "<",
])  # fmt: skip


@given(st.lists(TOKENS, max_size=40).map(" ".join) | st.text(max_size=60))
@settings(max_examples=500)
def test_any_cedar_text_is_taken_or_placed(text: str) -> None:
    policies, mistakes = load_policies([CedarText("f", "f", text)], None)
    for mistake in mistakes:
        assert mistake.mark is not None
        assert 1 <= mistake.mark.line <= text.count("\n") + 1
        assert str(mistake).isprintable()
    if not mistakes:
        assert [policy.id for policy in policies.policies] == [
            policies.named(f"policy{n}") for n in range(len(policies.policies))
        ]
