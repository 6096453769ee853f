"""What a status says of whether the server of an approved call has acted."""

import json
from pathlib import Path

import pytest

from tests.harness.hold_room import LEGACY, held, legacy, room
from tests.harness.mcp_server import Peer, Received
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import Ending, State
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut
from thoughtgate_proxy.holds import refusal
from thoughtgate_proxy.upstream.errors import TurnedAway

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})
RETRY = (("retry-after", "1"),)


@pytest.mark.parametrize(
    ("status", "lines", "in_session"),
    [
        *((s, (), False) for s in (401, 403, 429, 307, 308)),
        (404, (), True),
        (503, RETRY, False),
    ],
)
def test_a_server_that_turns_away_has_not_acted(
    status: int, lines: tuple[tuple[str, str], ...], in_session: bool
) -> None:
    reply = HttpReply(status, lines, b"")
    for body in (b"", b"<html>", b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}'):
        with pytest.raises(TurnedAway, match=f"HTTP status {status}"):
            refusal.check(reply, body, in_session=in_session)
    refusal.check(reply, b'{"jsonrpc":"2.0","id":1,"result":{}}', in_session=in_session)


@pytest.mark.parametrize("status", [502, 504, 301, 302, 303])
def test_what_does_not_say_leaves_it_unknown(status: int) -> None:
    with pytest.raises(ReplyCut, match=f"HTTP status {status}"):
        refusal.check(HttpReply(status, RETRY, b""), b"", in_session=True)


@pytest.mark.parametrize("status", [400, 404, 409, 500, 503])
def test_any_other_reply_is_the_answer(status: int) -> None:
    refusal.check(HttpReply(status, (), b""), b"", in_session=False)


def test_a_call_that_was_turned_away_is_sent_three_times_at_most(tmp_path: Path) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(b"", status=401)

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            for time in (1, 2, 3):
                async with held(gate.port, CALL, LEGACY) as stream:
                    if time == 1:
                        await gate.approve()
                    told = json.dumps(await stream.message())
                    assert "HTTP status 401" in told
                    assert ("counts until" in told) is (time < 3)
                assert len(gate.server.received) == time
                if time == 1:
                    await within(lambda: bool(gate.page.told[-1].reason), "the humans' word")
                    assert gate.page.told[-1].reason.startswith("not done: ")
            ended = await gate.ends_as(State.CANCELLED)
            assert ended.ending is Ending.TURNED_AWAY
            sendings = [line for line in await gate.audit() if line["step"] == "sending"]
            assert len(sendings) == 3
            assert len(gate.page.asked) == 1

    test()


def test_a_call_that_was_turned_away_is_done_when_the_server_takes_it(tmp_path: Path) -> None:
    async def script(_: Received, peer: Peer) -> None:
        gate_open.append(1)
        await peer.reply(b"", "Retry-After: 1", status=503)

    gate_open: list[int] = []

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            usual, gate.server.script = gate.server.script, script
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                assert "retry-after: 1" in json.dumps(await stream.message())
            gate.server.script = usual
            async with held(gate.port, CALL, LEGACY) as stream:
                assert "did delete_user" in json.dumps(await stream.message())
            assert (await gate.ends_as(State.DONE)).reason == ""
            assert gate_open == [1]

    test()
