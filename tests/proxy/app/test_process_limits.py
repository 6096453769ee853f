"""Each limit of the configuration has a refusal in words, a line of the log, and its own count."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, dumps, polite
from tests.harness.proxy_process import RULES, Line, Proxy, World, world
from tests.harness.wait import within
from tests.harness.wire import Reply, ask, call, connected, post

LIMITS = """
limits:
  request_body_bytes: 65536
  memory_bytes: 1048576
  header_block_bytes: 1024
  batch: 2
  json_depth: 4
  json_values: 100
  listing_reply_bytes: 1024
  concurrent_requests: 3
"""
LISTING = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
LISTENING = dumps(
    {
        "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen",
        "params": {
            "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"},
            "notifications": {"resourceSubscriptions": [f"file:///{n}" for n in range(3)]},
        },
    }
)  # fmt: skip
MODERN = ("MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen")


@dataclass(frozen=True)
class Case:
    """A request over the limit `key`: what it is answered, and the method that is counted."""

    key: str
    request: bytes
    status: int
    code: int
    words: str
    method: str = ""


CASES = {
    "a long body": Case(
        "request_body_bytes", post(b"x" * 65_537), 413, -32600, "more than 65536 bytes"
    ),
    "a body of many values": Case("memory_bytes", post(b"," * 20_000), 413, -32600, "more memory"),
    "many headers": Case(
        "header_block_bytes", post(b"{}", "X-A: " + "a" * 1024), 431, -32600, "more than 1024 bytes"
    ),
    "a long batch": Case(
        "batch", post(b"[" + b",".join([LISTING] * 3) + b"]"), 400, -32600, "allowed are 2"
    ),
    "many targets": Case(
        "batch", post(LISTENING, *MODERN), 200, -32602, "allowed are 2", "subscriptions/listen"
    ),
    "deep arguments": Case(
        "json_depth", post(call("get_user", x=[[[[]]]])), 400, -32700, "deeper than 4"
    ),
    "many values": Case(
        "json_values", post(call("get_user", x=[0] * 100)), 400, -32700,
        "more than 100 keys and values",
    ),
    "a long listing": Case(
        "listing_reply_bytes", post(LISTING), 502, 50201, "longer than 1024 bytes", "tools/list"
    ),
    "a long listing in a stream": Case(
        "listing_reply_bytes", post(LISTING, "X-Stream: 1"), 200, 50202, "longer than 1024 bytes",
        "tools/list",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate"), RULES + LIMITS) as both:
        yield both


async def listing(request: Received, peer: Peer) -> None:
    """A listing that is too long, in the form that is asked for."""
    tools = [{"name": f"tool_{number}"} for number in range(200)]
    message = {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}
    if request.header("x-stream"):
        await peer.events()
        await peer.event(message)
        await peer.end()
    else:
        await peer.reply(dumps(message))


async def told(proxy: Proxy, key: str, method: str, since: int, before: float) -> Line:
    """The log's line, once the count has gone up by one."""
    metrics = await proxy.metrics()
    assert metrics[series(key, method)] == before + 1
    kind = f"limit_{key}"
    await within(lambda: any(told_of(line, key, kind) for line in proxy.lines[since:]), kind)
    (line,) = (line for line in proxy.lines[since:] if told_of(line, key, kind))
    return line


def told_of(line: Line, key: str, kind: str) -> bool:
    return line.get("limit") == key or line.get("kind") == kind


def series(key: str, method: str) -> str:
    return f'thoughtgate_errors_total{{error_type="limit_{key}",method="{method}"}}'


def error_in(reply: Reply) -> dict[str, object]:
    """The JSON-RPC error of a reply, also where it is an event."""
    if reply.header("content-type") == "text/event-stream":
        reply = Reply(200, [], reply.body.partition(b"data: ")[2])
    assert reply.json["jsonrpc"] == "2.0"
    error: dict[str, object] = reply.json["error"]
    return error


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_told_logged_and_counted(gate: World, name: str) -> None:
    case = CASES[name]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script, since = listing, len(proxy.lines)
        before = (await proxy.metrics()).get(series(case.key, case.method), 0)
        reply = await ask(proxy.port, case.request)
        error = error_in(reply)
        assert (reply.status, error["code"]) == (case.status, case.code)
        assert case.words in str(error["message"])
        line = await told(proxy, case.key, case.method, since, before)
        assert case.words in line["reason"]
        assert line["level"] == "warning"

    gate.run(test)


def test_requests_beyond_the_limit_are_told_logged_and_counted(gate: World) -> None:
    go = asyncio.Event()

    async def held(request: Received, peer: Peer) -> None:
        await go.wait()
        await polite(request, peer)

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script, since, key = held, len(proxy.lines), "concurrent_requests"
        server.received.clear()
        under_way = [asyncio.create_task(ask(proxy.port, post(call("get_user")))) for _ in range(3)]
        await within(lambda: len(server.received) == 3, "three calls at the server")
        async with connected(proxy.port) as wire:
            await wire.send(post(call("get_user")))
            reply = await wire.reply()
        assert reply.status == 503
        assert "3 requests are under way" in str(error_in(reply)["message"])
        await told(proxy, key, "", since, 0)
        go.set()
        assert [reply.status for reply in await asyncio.gather(*under_way)] == [200] * 3

    gate.run(test)
