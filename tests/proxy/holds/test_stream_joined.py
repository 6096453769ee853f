"""Several requests for one approval: the same call again, from one caller or another."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import LEGACY, Stream, answer_to, decision, held, legacy, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps, result
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.holds import stream as held_stream
from thoughtgate_proxy.mcp.sse import data_of

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})
AGAIN = (
    b'{"method":"tools/call", "params":{"arguments":{"id":7}, "name":"delete_user"},'
    b'"jsonrpc":"2.0","id":"again"}'
)


def progress(value: float) -> dict[str, Any]:
    params = {"progressToken": "p", "progress": value, "message": "theirs"}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def test_a_client_that_comes_back_finds_its_request(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            async with held(gate.port, CALL, LEGACY):
                await gate.asked()
            await within(lambda: gate.page.queue.pending()[0].caller_left, "the mark")
            await gate.approve()
            assert gate.server.received == []
            async with held(gate.port, AGAIN, LEGACY, "X-Trace: second") as stream:
                message = await stream.message()
                assert message["id"] == "again"
                assert text_of(message) == "did delete_user"
            (sent,) = gate.server.received
            assert sent.body == CALL, "the bytes that were approved"
            assert sent.header("x-trace") == "second"
            assert len(gate.page.asked) == 1

    test()


def test_another_callers_same_call_is_another_request(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, CALL, LEGACY, "Authorization: Bearer a") as first,
        ):
            await gate.approve()
            assert text_of(await first.message()) == "did delete_user"
            (sent,) = gate.server.received
            assert sent.header("authorization") == "Bearer a"
            async with held(gate.port, CALL, LEGACY, "Authorization: Bearer b"):
                await within(lambda: len(gate.page.asked) == 2, "another question")
            assert len(gate.server.received) == 1

    test()


def test_after_its_delivery_the_same_call_is_a_new_request(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                await stream.message()
                await stream.ended()
            async with held(gate.port, CALL, LEGACY):
                await within(lambda: len(gate.page.asked) == 2, "another question")

    test()


def test_a_result_that_nobody_got_waits_for_the_same_call(tmp_path: Path) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        arrived.set()
        await go_on.wait()
        await peer.reply(dumps(result(request.message)))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY):
                await gate.approve()
                await arrived.wait()
            go_on.set()
            await gate.ends_as(State.DONE)
            message = await answer_to(gate, AGAIN)
            assert (message["id"], text_of(message)) == ("again", "did delete_user")
            assert len(gate.server.received) == 1

    test()


def test_joined_requests_share_one_call_and_one_of_them_is_told_so(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, CALL, LEGACY) as one,
            held(gate.port, AGAIN, LEGACY) as other,
        ):
            await gate.approve()
            messages = [await one.message(), await other.message()]
            assert [message["id"] for message in messages] == [1, "again"]
            assert {text_of(message) for message in messages} == {"did delete_user"}
            shared = [m for m in messages if "_meta" in m["result"]]
            assert [decision(m)["shared"] for m in shared] == [True]
            assert len(gate.server.received) == len(gate.page.asked) == 1

    test()


def test_one_of_joined_requests_alone_hears_what_the_server_says(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        await peer.events()
        for number in range(3):
            note = {"level": "info", "data": number}
            await peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": note})
        await go_on.wait()
        await peer.event(result(request.message))
        await peer.end()

    async def heard(stream: Stream) -> list[int]:
        numbers = []
        while "method" in (message := await stream.message()):
            numbers.append(message["params"]["data"])
            if len(numbers) == 3:
                go_on.set()
        assert text_of(message) == "did delete_user"
        return numbers

    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, CALL, LEGACY) as one,
            held(gate.port, AGAIN, LEGACY) as other,
        ):
            gate.server.script = script
            await gate.approve()
            assert sorted(await asyncio.gather(heard(one), heard(other))) == [[], [0, 1, 2]]

    test()


def test_a_joined_request_hears_the_server_once_the_first_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_stream, "KEEP_ALIVE_SECONDS", 0.02)  # who listens is seen so often
    begun, left, heard = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(progress(1))
        begun.set()
        await left.wait()
        while not heard.is_set():
            await peer.event({"jsonrpc": "2.0", "id": "s-1", "method": "ping"})
            await asyncio.sleep(0.01)
        await peer.event(result(request.message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY) as first:
                await gate.approve()
                await begun.wait()
                assert "method" in await first.message()
                async with held(gate.port, AGAIN, LEGACY) as other:
                    first.wire.close()
                    await within(lambda: gate.watch.active == 1, "the end of the first")
                    left.set()
                    assert (await other.message())["method"] == "ping"
                    heard.set()
                    while "method" in (message := await other.message()):
                        pass
                    assert text_of(message) == "did delete_user"

    test()


def test_a_result_too_long_to_be_kept_is_given_to_one_request_alone(tmp_path: Path) -> None:
    long = "a" * (1 << 20)

    async def script(request: Received, peer: Peer) -> None:
        value = {"content": [{"type": "text", "text": long}]}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": value}))

    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, CALL, LEGACY) as one,
            held(gate.port, AGAIN, LEGACY) as other,
        ):
            gate.server.script = script
            await gate.approve()
            texts = sorted([text_of(await s.message()) for s in (one, other)], key=len)
            assert texts[1] == long
            assert "was too large to keep" in texts[0]
            assert len(gate.server.received) == 1

    test()


def test_a_result_that_was_never_written_is_not_delivered(tmp_path: Path) -> None:
    lines = (
        ("host", "localhost"), ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2025-11-25"),
    )  # fmt: skip

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            handling = gate.gateway.handle(HttpRequest("POST", "/", lines, CALL))
            assert not isinstance(handling, HttpReply)
            reply = await handling
            assert not isinstance(reply.body, bytes)
            await anext(reply.body)
            await gate.approve()
            while data_of(await anext(reply.body)) is None:
                pass
            reply.close()  # the client has gone before the answer could be written
            assert not (await gate.ends_as(State.DONE)).delivered
            message = await answer_to(gate, AGAIN)
            assert (message["id"], text_of(message)) == ("again", "did delete_user")
            assert len(gate.server.received) == len(gate.page.asked) == 1

    test()
