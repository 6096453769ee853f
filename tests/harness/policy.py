"""Gatekeepers from configurations as operators write them, and messages as agents send them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.policy.cedar import PolicySet
from thoughtgate_proxy.core.policy.decision import Decision
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.message import Batch, Message, Request
from thoughtgate_proxy.runtime.config_loader import load_text

CONFIGS = Path(__file__).parents[1] / "proxy" / "core" / "config" / "files"
AGENT = "data-engineering/my-agent"
MODERN = {"_meta": {message.PROTOCOL_VERSION: "2026-07-28"}}
SOURCE = {"id": "upstream", "url": "http://mcp-server:3000"}
SLACK = {"default": {"adapter": "slack", "channel": "#approvals"}}


def gate(
    governance: Mapping[str, Any] | None = None,
    *,
    sources: list[dict[str, Any]] | None = None,
    cedar: str | None = None,
    identity: str = AGENT,
) -> PolicyEngine:
    """A configuration in force; without `governance` every call is denied by default."""
    file: dict[str, Any] = {
        "schema": 1,
        "sources": sources or [SOURCE],
        "governance": {"defaults": {"action": "deny"}, **(governance or {})},
        "approval": SLACK,
    }
    if cedar is not None:
        file["cedar"] = {"inline": cedar}
    return gate_of(json.dumps(file).encode(), identity)


def gate_of(config: bytes, identity: str = AGENT) -> PolicyEngine:
    loaded = load_text(config, "config.yaml", CONFIGS, {}, CHANNELS)
    who = from_words(identity, "agents", "my-agent-7d4f")
    policies = PolicySet(loaded.policies, who) if loaded.policies.policies else None
    return PolicyEngine(loaded.config, loaded.digest, policies)


def body(method: str, params: Any = None, **envelope: Any) -> bytes:
    sent: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, **envelope}
    if params is not None:
        sent["params"] = params
    return json.dumps(sent).encode()


def read(sent: bytes, max_batch: int = 100) -> Message | Batch:
    return message.read(sent, max_batch=max_batch)


def request(method: str, params: Any = None) -> Request:
    asked = read(body(method, params))
    assert isinstance(asked, Request)
    return asked


def call(name: str, arguments: Any = None) -> Request:
    return request("tools/call", {"name": name, "arguments": arguments or {}})


def judged(keeper: PolicyEngine, asked: Request, now: float = 0.0) -> Decision:
    (decision,) = keeper.judge(keeper.config.enabled_sources[0], asked, now)
    return decision
