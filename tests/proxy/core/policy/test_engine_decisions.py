"""What is decided, case by case: `decisions/*.json` hold a configuration and its messages each.

A case has `method` and `params`, or a whole `body`; it expects a decision (the fields that it
names), a list of them, one for each target, or the code with which the message is refused.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.policy import AGENT, CONFIGS, body, gate_of, read
from thoughtgate_proxy.core.protocol.message import Malformed, Request

FILES = sorted((Path(__file__).parent / "decisions").glob("*.json"))


def cases() -> list[Any]:
    found = []
    for file in FILES:
        corpus = json.loads(file.read_text())
        for number, case in enumerate(corpus["cases"]):
            found.append(pytest.param(corpus, case, id=f"{file.stem}-{number}"))
    return found


@pytest.mark.parametrize(("corpus", "case"), cases())
def test_each_message_is_decided_as_expected(corpus: dict[str, Any], case: dict[str, Any]) -> None:
    sent = case["body"].encode() if "body" in case else body(case["method"], case.get("params"))
    if "refused" in case:
        with pytest.raises(Malformed) as refused:
            read(sent)
        assert refused.value.code == case["refused"]
        return
    asked = read(sent)
    assert isinstance(asked, Request)
    config = corpus["config"]
    text = (
        (CONFIGS / config).read_bytes() if isinstance(config, str) else json.dumps(config).encode()
    )
    keeper = gate_of(text, case.get("identity", corpus.get("identity", AGENT)))
    sources = {source.id: source for source in keeper.config.enabled_sources}
    source = sources[case.get("source", next(iter(sources)))]
    expected = case["expect"] if isinstance(case["expect"], list) else [case["expect"]]
    decisions = keeper.judge(source, asked, 0.0)
    assert len(decisions) == len(expected)
    for decision, fields in zip(decisions, expected, strict=True):
        found = {name: getattr(decision, name) for name in fields}
        assert json.loads(json.dumps(found)) == fields
        assert decision.config == keeper.digest
