"""What cannot be logged is not sent: each target of a request, and each message."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.core.policy.permit import ForwardDecisions, UngatedMessage
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.headers import Heads
from thoughtgate_proxy.core.protocol.http import HttpRequest
from thoughtgate_proxy.gateway.authorize import Authorizer, Refuse
from thoughtgate_proxy.runtime import config_loader
from thoughtgate_proxy.telemetry.log import Log
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record

TEXT = b"""
schema: 1
sources: [{id: up, kind: mcp, url: "http://127.0.0.1:9"}]
governance: {defaults: {action: forward}}
"""
LIMIT = 16 * 1024


class Authorizing:
    """Authorizes messages, with a log that nobody reads until `lines` does."""

    def __init__(self) -> None:
        self.ends = os.pipe()
        self.log = Log(lambda: 0.0, fd=self.ends[1], limit=LIMIT)
        record = Record(self.log, Metrics(), Identity("data/agent", "team", {}, "shop", "pod"))
        loaded = config_loader.load_text(TEXT, "config.yaml", Path(), {}, CHANNELS)
        self.engine = PolicyEngine(loaded.config, loaded.digest, None)
        self.authorizer = Authorizer(self.engine, record, lambda: "0123456789abcdef")

    def of(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> object:
        head = Heads(loopback_only=True).of(HttpRequest("POST", "/", (("host", "localhost"),), b""))
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}
        raw = json.dumps(body).encode()
        read = message.read(raw, max_batch=100, max_depth=128, max_values=10_000)
        assert not isinstance(read, message.Batch)
        return self.authorizer.authorize(self.engine.config.sources[0], head, read, raw, 0.0)

    def lines(self) -> list[dict[str, Any]]:
        """What reached the log."""
        os.set_blocking(self.ends[0], False)
        got = b""
        self.log.flush(0.1)
        while True:
            try:
                got += os.read(self.ends[0], 1 << 20)
            except BlockingIOError:
                break
        return [json.loads(line) for line in got.splitlines()]


@pytest.fixture
def authorizing() -> Iterator[Authorizing]:
    one = Authorizing()
    yield one
    for end in one.ends:
        os.close(end)


def listen(authorizing: Authorizing, length: int, count: int = 100) -> object:
    """Ask for news of `count` resources, whose URIs are so long."""
    uris = [f"file:///{number}/{'x' * length}" for number in range(count)]
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"_meta": meta, "notifications": {"resourceSubscriptions": uris}}
    return authorizing.of("subscriptions/listen", params)


def test_of_many_targets_all_are_logged_or_nothing_is_sent(authorizing: Authorizing) -> None:
    os.set_blocking(authorizing.ends[1], False)
    while True:  # a pipe that nobody reads
        try:
            os.write(authorizing.ends[1], b"\n" * 4096)
        except BlockingIOError:
            break
    verdict = listen(authorizing, 60)
    assert isinstance(verdict, Refuse)
    assert verdict.status == 503
    assert not authorizing.log._waiting


def test_of_many_targets_that_fit_each_has_its_line(authorizing: Authorizing) -> None:
    assert isinstance(listen(authorizing, 10, 20), ForwardDecisions)
    lines = authorizing.lines()
    assert [line["message"] for line in lines] == ["decision"] * 20
    assert len({line["name"] for line in lines}) == 20


@pytest.mark.parametrize("method", ["ping", "initialize", "tools/list"])
def test_a_message_that_no_gate_asks_about_has_a_line(
    authorizing: Authorizing, method: str
) -> None:
    assert isinstance(authorizing.of(method), UngatedMessage)
    [line] = authorizing.lines()
    assert line["message"] == "forwarded"
    assert line["level"] == "info"
    assert (line["method"], line["source"]) == (method, "up")
    assert line["correlation_id"] == "0123456789abcdef"
    assert len(json.dumps(line)) < 300
