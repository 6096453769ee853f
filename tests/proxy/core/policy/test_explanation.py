"""An explanation says what the gate decides, for every message of the decisions' corpus."""

import json
from typing import Any

import pytest

from tests.harness.policy import AGENT, CONFIGS, body, read
from tests.proxy.core.policy.test_engine_decisions import FILES
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.cli import explain
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.policy.cedar import PolicySet
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.explanation import Explainer
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.core.protocol.message import Malformed, Request
from thoughtgate_proxy.core.protocol.methods import GATED
from thoughtgate_proxy.runtime.config_loader import load_text

REFERENCE = CONFIGS / "reference.yaml"


@pytest.mark.parametrize("method", sorted(GATED))
def test_each_gated_method_reaches_for_what_is_named(method: str) -> None:
    asked = read(explain.message(method, "x", None, None))
    assert isinstance(asked, Request)
    assert [target.name for target in asked.targets] == ["x"]


def test_a_completion_is_for_a_prompt_or_a_resource() -> None:
    for ref, kind in ((None, Kind.PROMPT), ("prompt", Kind.PROMPT), ("resource", Kind.RESOURCE)):
        asked = read(explain.message("completion/complete", "x", None, ref))
        assert isinstance(asked, Request)
        assert asked.targets[0].kind is kind


def test_a_batch_and_an_answer_are_not_explained() -> None:
    loaded = load_text(REFERENCE.read_bytes(), "c", CONFIGS, {}, CHANNELS)
    keeper = PolicyEngine(loaded.config, loaded.digest, None)
    explainer = Explainer(keeper, loaded.config.sources[0], loaded.policies, loaded.lines)
    for sent in (b"[%b]" % body("ping"), b'{"jsonrpc": "2.0", "id": 1, "result": {}}'):
        with pytest.raises(TypeError):
            explainer.explain(sent)


def corpus() -> list[Any]:
    """The decisions' corpus, as far as a message there has one target."""
    found = []
    for file in FILES:
        cases = json.loads(file.read_text())
        for number, case in enumerate(cases["cases"]):
            if not isinstance(case.get("expect"), list):
                found.append(pytest.param(cases, case, id=f"{file.stem}-{number}"))
    return found


@pytest.mark.parametrize(("cases", "case"), corpus())
def test_it_says_what_the_gate_decides(cases: dict[str, Any], case: dict[str, Any]) -> None:
    config = cases["config"]
    data = (
        (CONFIGS / config).read_bytes() if isinstance(config, str) else json.dumps(config).encode()
    )
    loaded = load_text(data, "c", CONFIGS, {}, CHANNELS)
    who = from_words(case.get("identity", cases.get("identity", AGENT)), "agents", "my-agent-7d4f")
    policies = PolicySet(loaded.policies, who) if loaded.policies.policies else None
    keeper = PolicyEngine(loaded.config, loaded.digest, policies)
    sources = {source.id: source for source in loaded.config.enabled_sources}
    source = sources[case.get("source", next(iter(sources)))]
    sent = case["body"].encode() if "body" in case else body(case["method"], case.get("params"))
    explainer = Explainer(keeper, source, loaded.policies, loaded.lines)
    explained = explainer.explain(sent)
    if "refused" in case:
        with pytest.raises(Malformed) as refused:
            read(sent)
        assert (explained.outcome, explained.reason) == ("deny", refused.value.reason)
        return
    asked = read(sent)
    assert isinstance(asked, Request)
    (decided,) = PolicyEngine(loaded.config, loaded.digest, policies).judge(source, asked, 0.0)
    assert explained.decision == decided
    assert (explained.outcome == "forward") is decided.goes_on
    words = {step.gate: step.verdict for step in explained.steps}
    gate = decided.gate.value
    assert words[gate] == {"forward": "passed", "hold": "asks", "deny": "refused"}[decided.outcome]


def test_each_condition_on_the_way_is_told() -> None:
    rules = [
        {"match": "pay", "action": "forward", "when": {"urgent": {"equals": True}}},
        {"match": "pay", "action": "deny", "when": {"to": {"equals": "DE"}}},
        {"match": "p*", "action": "approve", "when": {"amount": {"over": 5}}},
    ]
    file = {
        "schema": 1,
        "sources": [{"id": "a", "url": "http://a"}],
        "governance": {"defaults": {"action": "forward"}, "rules": rules},
        "approval": {"default": {"adapter": "page"}},
    }
    loaded = load_text(json.dumps(file, indent=1).encode(), "c", CONFIGS, {}, CHANNELS)
    keeper = PolicyEngine(loaded.config, loaded.digest, None)
    explainer = Explainer(keeper, loaded.config.sources[0], loaded.policies, loaded.lines)
    sent = body("tools/call", {"name": "pay", "arguments": {"urgent": 1, "to": "FR", "amount": 9}})
    told = [(step.gate, step.verdict.value, step.text) for step in explainer.explain(sent).steps]
    first, second, third = (f"`governance.rules[{n}]`" for n in range(3))
    assert told[1:5] == [
        ("when", "undecided", f"{first}, `pay`: `urgent` is a number, expected a boolean"),
        ("when", "does not", f"{second}, `pay`: `to` is not what it must equal"),
        ("when", "holds", f"{third}, `p*`"),
        ("rules", "asks", f"{third} of 3, `p*`: approve"),
    ]
