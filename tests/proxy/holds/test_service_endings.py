"""What a model reads when its held call does not end with the server's result."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.clock import ManualClock
from tests.harness.hold_room import LEGACY, answer_to, decision, held, legacy, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps
from tests.harness.wait import run
from thoughtgate_proxy.core.approval import VoteValue

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})


def test_a_rejection_is_told_with_the_approvers_reason(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.say(VoteValue.REJECT, "not on a Friday", "Bob")
            message = await stream.message()
            assert message["result"]["isError"] is True
            said = text_of(message)
            assert "`delete_user`" in said
            assert "Bob rejected" in said
            assert "«not on a Friday»" in said
            assert decision(message)["ending"] == "rejected"
            assert gate.server.received == []
            # And remembered for a while: nobody is asked again.
            assert "Bob rejected" in text_of(await answer_to(gate, CALL))
            assert len(gate.page.asked) == 1

    test()


def test_a_timeout_is_nobodys_refusal(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock()) as gate:
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.asked()
                await gate.pass_by(61)
                message = await stream.message()
                said = text_of(message)
                assert "no approver answered within 1m" in said
                assert "Nobody has refused it" in said
                assert not any(word in said for word in ("rejected", "denied"))
                assert decision(message)["ending"] == "timed_out"
            assert gate.server.received == []

    test()


@pytest.mark.parametrize("end", ["reject", "time"])
def test_with_deny_as_error_the_answer_is_an_error_with_its_code(tmp_path: Path, end: str) -> None:
    @run
    async def test() -> None:
        governance = {"deny_as": "error"}
        async with (
            room(tmp_path, ManualClock(), governance=governance) as gate,
            held(gate.port, CALL, LEGACY) as stream,
        ):
            await gate.asked()
            if end == "reject":
                await gate.say(VoteValue.REJECT)
            else:
                await gate.pass_by(61)
            error = (await stream.message())["error"]
            assert error["code"] == (40303 if end == "reject" else 40304)
            assert "io.thoughtgate/decision" in error["data"]

    test()


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize("kind", ["nothing", "an error"])
def test_a_reply_that_is_not_2xx_becomes_an_error_that_carries_the_status(
    tmp_path: Path, kind: str, status: int
) -> None:
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "no such session"}}

    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(dumps(error) if kind == "an error" else b"<html>", status=status)

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                told = (await stream.message())["error"]
                assert told["data"]["io.thoughtgate/http_status"] == {"status": status}
                assert told["code"] == (-32001 if kind == "an error" else 50202)

    test()


def test_nothing_is_lost_while_the_server_is_down(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            port = gate.server.port
            await gate.server.__aexit__(None, None, None)
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                message = await stream.message()
                assert "it was not done" in text_of(message)
                assert "The approval counts until" in text_of(message)
                assert decision(message)["outcome"] == "hold"
                await stream.ended()
                (approved,) = gate.page.queue.pending()
                assert not approved.delivered, "its result is still to come"
            gate.server._server = await asyncio.start_server(
                gate.server._connected, "127.0.0.1", port
            )
            assert text_of(await answer_to(gate, CALL)) == "did delete_user"
            assert len(gate.page.asked) == len(gate.server.received) == 1

    test()


def test_a_call_that_is_cut_off_may_have_happened_and_is_not_sent_again(tmp_path: Path) -> None:
    async def script(_: Received, peer: Peer) -> None:
        peer.reset()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                message = await stream.message()
                assert "may or may not have happened" in text_of(message)
                assert "not sent again" in text_of(message)
                assert decision(message)["ending"] == "unknown"
            assert len(gate.server.received) == 1

    test()


def test_rules_that_deny_by_now_end_what_is_held(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.asked()
            gate.reload(governance={"rules": [{"match": "delete_*", "action": "deny"}]})
            said = text_of(await stream.message())
            assert "the rules have changed" in said
            assert "rule `delete_*` (`governance.rules[0]`) denies it" in said
            assert gate.server.received == []

    test()


def test_a_freeze_ends_what_is_held(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.asked()
            gate.reload(governance={"freeze": True})
            message = await stream.message()
            assert "frozen" in text_of(message)
            assert decision(message)["ending"] == "frozen"
            assert gate.server.received == []

    test()


def test_a_restart_is_told_and_the_same_call_joins_its_request(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.asked()
                await gate.restart()
                said = text_of(await stream.message())
                assert "restarting" in said
                assert "joins it" in said
                await stream.ended()
            async with held(gate.port, CALL, LEGACY) as stream:
                (pending,) = gate.page.queue.pending()
                await gate.page.say(pending.id, VoteValue.APPROVE)
                assert text_of(await stream.message()) == "did delete_user"
            assert gate.page.asked == [], "nobody was asked twice"

    test()


def test_humans_who_cannot_be_told_are_not_waited_for(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.refuse_to_ask("the channel `#approvals` is not there")
            message = await answer_to(gate, CALL)
            assert "cannot be reached: the channel `#approvals` is not there" in text_of(message)
            assert "nothing is pending" in text_of(message)
            assert decision(message)["ending"] == "not_told"

    test()


def test_no_more_is_asked_than_approvers_can_look_at(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with (
            room(tmp_path, limits={"pending_approvals": 1}) as gate,
            held(gate.port, CALL, LEGACY),
        ):
            await gate.asked()
            other = legacy("tools/call", name="delete_user", arguments={"id": 8})
            reply = await gate.send(other, LEGACY)
            assert "nobody was asked" in text_of(reply.json)
            assert "pending" in text_of(reply.json)
            assert decision(reply.json)["kind"] == "pending_approvals"

    test()


def test_a_result_that_is_encoded_against_our_word_is_not_given(tmp_path: Path) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(b"\x1f\x8b not for us", "Content-Encoding: gzip")

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                error = (await stream.message())["error"]
                assert error["code"] == 50202
                assert "only identity was allowed" in error["message"]

    test()
