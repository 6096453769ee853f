"""The answer to an approved call reaches its caller in whatever form the server gives it."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import LEGACY, held, legacy, room, text_of
from tests.harness.mcp_server import Peer, Received
from tests.harness.wait import run
from thoughtgate_proxy.core.approval import State

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})
TEXT = {"content": [{"type": "text", "text": "did it"}]}

FORMS: dict[str, Callable[[Any], bytes]] = {
    "an id as text": lambda id: json.dumps({"id": str(id), "result": TEXT}).encode(),
    "an error that is null": lambda id: json.dumps(
        {"id": id, "result": TEXT, "error": None}
    ).encode(),
    "a byte order mark": lambda id: (
        b"\xef\xbb\xbf" + json.dumps({"id": id, "result": TEXT}).encode()
    ),
}


async def answer(peer: Peer, body: bytes, *headers: str) -> None:
    await peer.head(200, "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
    await peer.send(body)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_an_odd_answer_is_the_answer(tmp_path: Path, form: Callable[[Any], bytes]) -> None:
    async def script(request: Received, peer: Peer) -> None:
        await answer(peer, form(request.message["id"]))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            gate.server.script = script
            await gate.approve()
            assert text_of(await stream.message()) == "did it"
            await stream.ended()
            await gate.ends_as(State.DONE)

    test()


def test_a_gzip_that_nobody_asked_for_is_unpacked(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        body = json.dumps({"id": request.message["id"], "result": TEXT}).encode()
        await answer(peer, gzip.compress(body), "Content-Encoding: gzip")

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            gate.server.script = script
            await gate.approve()
            assert text_of(await stream.message()) == "did it"

    test()


def test_a_last_event_without_its_empty_line_counts(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        await peer.head(200, "Content-Type: text/event-stream", "Connection: close")
        body = json.dumps({"id": request.message["id"], "result": TEXT}).encode()
        await peer.send(b"data: " + body + b"\n")
        peer.close()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            gate.server.script = script
            await gate.approve()
            assert text_of(await stream.message()) == "did it"

    test()
