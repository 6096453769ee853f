"""The rest of a reply is asked for within bounds, and not while everything is frozen."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import LEGACY, Room, held, legacy, room, text_of
from tests.harness.mcp_server import Peer, Received, Script
from tests.harness.policy import SOURCE
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State
from thoughtgate_proxy.exchange import dispatch

SAID = {"type": "text", "text": "too late"}
CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})


def never_done(retry: int = 0) -> Script:
    """A server that ends each stream after an event of which there was none before.

    It gives in one day, so that whoever asks for ever is found out.
    """
    numbers = itertools.count()

    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        if (number := next(numbers)) > 60:
            await peer.event({"jsonrpc": "2.0", "id": 1, "result": {"content": [SAID]}})
        await peer.chunk(f"id: {number}\nretry: {retry}\ndata: \n\n".encode())
        await peer.end()

    return script


async def unknown_end(gate: Room) -> Room:
    """A call whose outcome nobody learns."""
    async with held(gate.port, CALL, LEGACY) as stream:
        await gate.approve()
        assert "may or may not have happened" in text_of(await stream.message())
    await gate.ends_as(State.UNKNOWN)
    return gate


def test_a_reply_that_never_ends_is_asked_for_a_limited_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "MOST_TRIES", 7)

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = never_done()
            await unknown_end(gate)
            assert [one.method for one in gate.server.received] == ["POST", *["GET"] * 7]
            assert "broke off 7 times" in (await gate.ends_as(State.UNKNOWN)).reason

    test()


@pytest.mark.parametrize("response", ["300ms", "700ms"])
def test_a_reply_that_never_ends_is_asked_for_as_long_as_a_reply_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, response: str
) -> None:
    monkeypatch.setattr(dispatch, "LEAST_SECONDS", 0.4)

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            source = {**SOURCE, "url": gate.server.url, "timeouts": {"response": response}}
            gate.reload(sources=[source])
            gate.server.script = never_done(retry=30)
            begun = asyncio.get_running_loop().time()
            await unknown_end(gate)
            took = asyncio.get_running_loop().time() - begun
            assert took >= (0.7 if response == "700ms" else 0.4)
            assert len(gate.server.received) <= 1 + took / 0.03

    test()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"governance": {"freeze": True}}, "frozen every gated call"),
        ({"sources": [{"id": "other", "url": "http://other"}]}, "not in the configuration"),
    ],
    ids=["frozen", "without its server"],
)
def test_a_reload_may_end_the_asking_for_the_rest(
    tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = never_done(retry=30)
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                await within(lambda: len(gate.server.received) > 2, "the asking")
                gate.reload(**changed)
                assert "may or may not have happened" in text_of(await stream.message())
            assert reason in (await gate.ends_as(State.UNKNOWN)).reason

    test()
