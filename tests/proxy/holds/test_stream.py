"""A call that is held on its own stream, in the revisions before 2026-07-28."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.clock import ManualClock
from tests.harness.hold_room import LEGACY, held, legacy, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps, result
from tests.harness.wait import run
from tests.harness.wire import connected, post
from thoughtgate_proxy.core.approval import State

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})
TOKEN = legacy("tools/call", name="delete_user", arguments={}, _meta={"progressToken": "p"})


def progress(value: float) -> dict[str, Any]:
    params = {"progressToken": "p", "progress": value, "message": "theirs"}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def test_an_approved_call_gets_its_servers_reply_on_the_held_stream(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            assert gate.server.received == []
            await gate.approve()
            message = await stream.message()
            assert message["id"] == 1
            assert text_of(message) == "did delete_user"
            assert "_meta" not in message["result"]
            await stream.ended()
            (sent,) = gate.server.received
            assert sent.body == CALL
            assert (await gate.ends_as(State.DONE)).delivered

    test()


def test_the_stream_shows_every_15_s_that_it_is_alive(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        clock = ManualClock()
        async with room(tmp_path, clock) as gate, held(gate.port, TOKEN, LEGACY) as stream:
            steps = [(await stream.message())["params"]["progress"]]
            for _ in range(3):
                await gate.asked()
                await gate.pass_by(14.9)
                await gate.pass_by(0.2)
                await stream.comment()
                message = await stream.message()
                assert message["params"]["progressToken"] == "p"
                assert "until" in message["params"]["message"]
                steps.append(message["params"]["progress"])
            assert steps == sorted(set(steps))
            assert steps[-1] < 0.001

    test()


def test_the_servers_progress_goes_on_from_ours(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        await peer.events()
        for value in (0, 1, 2.5):
            await peer.event(progress(value))
        await peer.event(result(request.message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, TOKEN, LEGACY) as stream:
            gate.server.script = script
            last = (await stream.message())["params"]["progress"]
            await gate.approve()
            seen = [(await stream.message())["params"] for _ in range(3)]
            assert [step["message"] for step in seen] == ["theirs"] * 3
            assert last < seen[0]["progress"] < 0.001
            assert [step["progress"] for step in seen[1:]] == [1, 2.5]
            assert text_of(await stream.message()) == "did delete_user"

    test()


def test_the_server_asks_its_client_in_mid_call(tmp_path: Path) -> None:
    asked = {"jsonrpc": "2.0", "id": "s-1", "method": "elicitation/create", "params": {}}
    answered = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        if "method" not in request.message:
            await peer.reply(status=202)
            answered.set()
            return
        await peer.events()
        await peer.event(asked)
        await answered.wait()
        await peer.event(result(request.message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            gate.server.script = script
            await gate.approve()
            assert await stream.message() == asked
            reply = await gate.send(dumps({"jsonrpc": "2.0", "id": "s-1", "result": {}}), LEGACY)
            assert reply.status == 202
            assert text_of(await stream.message()) == "did delete_user"

    test()


def test_observed_calls_are_not_held(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, governance={"mode": "observe"}) as gate:
            reply = await gate.send(CALL, LEGACY)
            assert text_of(reply.json) == "did delete_user"
            assert gate.humans == {} or gate.page.asked == []

    test()


def test_a_member_of_a_batch_is_to_be_sent_alone(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            body = b"[" + CALL + b"," + legacy("tools/call", 2, name="get_user") + b"]"
            told = {message["id"]: message for message in (await gate.send(body)).json}
            assert "send it alone" in text_of(told[1])
            assert text_of(told[2]) == "did get_user"

    test()


def test_a_client_that_takes_no_events_gets_the_answer_alone(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            sending = asyncio.create_task(gate.send(CALL, LEGACY, "Accept: application/json"))
            await gate.approve()
            reply = await sending
            assert reply.header("content-type") == "application/json"
            assert text_of(reply.json) == "did delete_user"

    test()


@pytest.mark.parametrize("accept", [b"", b"Accept: */*\r\n", b"Accept: text/*;q=0.5\r\n"])
def test_a_client_that_does_not_refuse_events_gets_them(tmp_path: Path, accept: bytes) -> None:
    usual = b"Accept: application/json, text/event-stream\r\n"

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, connected(gate.port) as wire:
            await wire.send(post(CALL, LEGACY).replace(usual, accept))
            assert (await wire.head()).header("content-type") == "text/event-stream"

    test()


def test_the_approvers_read_what_the_server_claims_of_the_tool(tmp_path: Path) -> None:
    tool = {"name": "delete_user", "description": "Deletes.", "inputSchema": {"type": "object"}}

    async def script(request: Received, peer: Peer) -> None:
        value = {"jsonrpc": "2.0", "id": request.message["id"], "result": {"tools": [tool]}}
        await peer.reply(json.dumps(value).encode())

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            reply = await gate.send(legacy("tools/list"), LEGACY)
            assert reply.json["result"]["tools"] == [
                {**tool, "execution": {"taskSupport": "optional"}}
            ]
            async with held(gate.port, CALL, LEGACY):
                await gate.asked()
                assert gate.only.asked.description == "Deletes."

    test()


@pytest.mark.parametrize("id", ["another", "11", True, 1.0])
def test_an_answer_to_what_was_not_asked_is_not_the_calls(tmp_path: Path, id: Any) -> None:
    async def script(request: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(result({**request.message, "id": id}))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            gate.server.script = script
            await gate.approve()
            assert "may or may not have happened" in text_of(await stream.message())
            await stream.ended()
            await gate.ends_as(State.UNKNOWN)

    test()
