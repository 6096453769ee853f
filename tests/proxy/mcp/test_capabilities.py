"""What is advertised beside the server's own capabilities: calls that may be held can be tasks."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import Room, legacy, modern, room
from tests.harness.mcp_server import Peer, Received, dumps
from tests.harness.wait import run


def hello(**capabilities: Any) -> Any:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value = {"capabilities": capabilities}
        if message["method"] == "initialize":
            value["protocolVersion"] = message["params"]["protocolVersion"]
        body = dumps({"jsonrpc": "2.0", "id": message["id"], "result": value})
        if request.header("x-events"):
            await peer.events()
            await peer.event(json.loads(body))
            await peer.end()
        else:
            await peer.reply(body)

    return script


@pytest.mark.parametrize("events", [(), ("X-Events: yes",)], ids=["json", "events"])
def test_tasks_are_advertised_beside_what_the_server_has(
    tmp_path: Path, events: tuple[str, ...]
) -> None:
    async def capabilities(gate: Room, body: bytes) -> Any:
        reply = (await gate.send(body, *events)).body
        return json.loads(reply[reply.index(b"{") :])["result"]["capabilities"]

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = hello(tools={"listChanged": True}, tasks={"cancel": {"x": 1}})
            new = legacy("initialize", protocolVersion="2025-11-25")
            assert await capabilities(gate, new) == {
                "tools": {"listChanged": True},
                "tasks": {"cancel": {"x": 1}, "list": {}, "requests": {"tools": {"call": {}}}},
            }
            gate.server.script = hello(tools={})
            older = legacy("initialize", protocolVersion="2025-06-18")
            assert await capabilities(gate, older) == {"tools": {}}
            assert await capabilities(gate, modern("server/discover")) == {
                "tools": {},
                "extensions": {"io.modelcontextprotocol/tasks": {}},
            }

    test()


@pytest.mark.parametrize(
    "config",
    [{"approval": {}, "governance": {"rules": []}}, {"governance": {"mode": "observe"}}],
    ids=["no workflow", "observed"],
)
def test_where_nothing_is_held_nothing_is_advertised(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, **config) as gate:
            gate.server.script = hello(tools={})
            body = legacy("initialize", protocolVersion="2025-11-25")
            assert (await gate.send(body)).json["result"]["capabilities"] == {"tools": {}}

    test()


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2026-07-28"])
def test_gated_tools_may_be_called_as_tasks_and_need_not(tmp_path: Path, version: str) -> None:
    support = {"delete_a": None, "delete_b": "required", "delete_c": "forbidden", "get_user": None}

    async def script(request: Received, peer: Peer) -> None:
        tools = [
            {
                "name": name,
                "inputSchema": {},
                **({"execution": {"taskSupport": word}} if word else {}),
            }
            for name, word in support.items()
        ]
        answer = {"jsonrpc": "2.0", "id": request.message["id"], "result": {"tools": tools}}
        await peer.reply(dumps(answer))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            make = modern if version == "2026-07-28" else legacy
            reply = await gate.send(make("tools/list"), f"MCP-Protocol-Version: {version}")
            seen = {
                tool["name"]: tool.get("execution", {}).get("taskSupport")
                for tool in reply.json["result"]["tools"]
            }
            if version == "2025-11-25":
                assert seen == {**support, "delete_a": "optional", "delete_c": "optional"}
            else:
                assert seen == support

    test()
