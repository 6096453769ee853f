"""A server may end the stream of an approved call, to be asked for the rest of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from tests.harness.hold_room import LEGACY, held, legacy, room, text_of
from tests.harness.mcp_server import Peer, Received, Script, dumps, result
from tests.harness.policy import gate, request
from tests.harness.wait import run, soon
from thoughtgate_proxy.core.approval import State
from thoughtgate_proxy.core.policy.permit import Permit, UngatedMessage
from thoughtgate_proxy.core.protocol.headers import EVENT_STREAM
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.exchange.dispatch import Dispatch
from thoughtgate_proxy.holds import server_call
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.mcp.sse import event

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})
SOON = b"id: first\nretry: 0\ndata: \n\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test needs to wait longer after each time in vain."""
    monkeypatch.setattr(server_call, "AGAIN_SECONDS", 0.01)


@pytest.mark.parametrize("cut", [False, True])
def test_the_rest_of_a_reply_is_asked_for_and_the_call_sent_once(tmp_path: Path, cut: bool) -> None:
    sent: list[Received] = []
    gets: list[Received] = []

    async def script(request: Received, peer: Peer) -> None:
        (sent if request.method == "POST" else gets).append(request)
        if request.method == "POST":
            await peer.events()
            await peer.chunk(SOON)
            if cut:
                peer.reset()
            else:
                await peer.end()
            return
        if request is gets[0]:
            # It has not noticed yet that the connection before has ended.
            await peer.reply(status=409)
            return
        await peer.events()
        if request.header("last-event-id") == "first":
            note = {"level": "info", "data": "half way"}
            told = {"jsonrpc": "2.0", "method": "notifications/message", "params": note}
            await peer.event(told, id="second")
        else:
            assert request.header("last-event-id") == "second"
            await peer.event(result(sent[0].message), id="third")
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY, "Mcp-Session-Id: s1") as stream:
                await gate.approve()
                assert (await stream.message())["params"]["data"] == "half way"
                assert text_of(await stream.message()) == "did delete_user"
            assert len(sent) == 1
            assert [one.header("accept") for one in gets] == ["text/event-stream"] * 3
            assert [one.header("mcp-session-id") for one in gets] == ["s1"] * 3
            assert [one.header("content-type") for one in gets] == [None] * 3
            await gate.ends_as(State.DONE)

    test()


def test_a_rest_that_does_not_come_is_asked_for_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_call, "ANEW_SECONDS", 0.2)

    sent: list[Received] = []
    asked = 0

    async def script(request: Received, peer: Peer) -> None:
        nonlocal asked
        asked += request.method == "GET"
        await peer.events()
        if request.method == "POST":
            sent.append(request)
            await peer.chunk(SOON)
            await peer.end()
        elif asked < 3:
            await peer.gone.wait()  # it lost what came while it took the stream up
        else:
            await peer.event(result(sent[0].message), id="second")
            await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                assert text_of(await stream.message()) == "did delete_user"
            assert len(sent) == 1

    test()


async def nothing_new(peer: Peer) -> None:
    await peer.events()
    await peer.end()


async def refuses(peer: Peer) -> None:
    await peer.reply(status=405)


async def has_gone(peer: Peer) -> None:
    peer.reset()


@pytest.mark.parametrize("answer", [nothing_new, refuses, has_gone], ids=lambda one: one.__name__)
def test_a_server_that_gives_no_more_leaves_the_outcome_unknown(
    tmp_path: Path, answer: Callable[[Peer], Awaitable[None]]
) -> None:
    async def script(request: Received, peer: Peer) -> None:
        if request.method == "POST":
            await peer.events()
            await peer.chunk(SOON)
            await peer.end()
        else:
            await answer(peer)

    received = ends_unknown(tmp_path, script)
    assert [one.method for one in received] == ["POST", *["GET"] * 5]


@pytest.mark.parametrize("id", ["", "über", "a\x01b"])
def test_an_id_that_fits_into_no_header_is_not_gone_on_after(tmp_path: Path, id: str) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.chunk(SOON + f"id: {id}\ndata: \n\n".encode())
        await peer.end()

    assert [one.method for one in ends_unknown(tmp_path, script)] == ["POST"]


def ends_unknown(folder: Path, script: Script) -> list[Received]:
    """What a server received whose approved call ended so."""
    received: list[Received] = []

    @run
    async def test() -> None:
        async with room(folder) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                assert "may or may not have happened" in text_of(await stream.message())
            await gate.ends_as(State.UNKNOWN)
            received.extend(gate.server.received)

    test()
    return received


def asking(questions: int) -> ServerCall:
    """A call whose server asks its client so much before it answers."""
    asked = ({"jsonrpc": "2.0", "id": f"s-{n}", "method": "ping"} for n in range(questions))
    answered = {"jsonrpc": "2.0", "id": 1, "result": {}}

    async def events() -> AsyncIterator[bytes]:
        for message in (*asked, answered):
            yield event(dumps(message))

    async def reply(_: Permit) -> HttpReply:
        return HttpReply(200, [("content-type", EVENT_STREAM)], events())

    return ServerCall(cast("Dispatch", reply), 1 << 20)


def a_permit() -> Permit:
    engine, sent = gate(), request("tools/list")
    body = dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    return engine.permit(engine.config.enabled_sources[0], "/", body, UngatedMessage(sent))


@run
async def test_of_what_nobody_listens_to_the_first_64_questions_are_kept() -> None:
    call = asking(100)
    assert await soon(call.send(a_permit()), "the response") is not None
    ended = asyncio.get_running_loop().create_future()
    ended.set_result(None)
    kept = await call.messages(ended, 1.0)
    assert [json.loads(one)["id"] for one in kept] == [f"s-{n}" for n in range(64)]


@run
async def test_a_server_waits_for_who_listens_and_nothing_is_lost() -> None:
    call, heard = asking(200), list[str]()
    assert call.listen()
    sending = asyncio.ensure_future(call.send(a_permit()))
    while messages := await soon(call.messages(sending, 5.0), "what the server asks"):
        assert len(messages) <= 64
        heard += [json.loads(one)["id"] for one in messages]
    assert sending.done()
    assert heard == [f"s-{n}" for n in range(200)]


def test_one_request_at_a_time_listens_to_a_call() -> None:
    call = asking(0)
    assert call.listen()
    assert not call.listen()
    call.leave()
    assert call.listen()
