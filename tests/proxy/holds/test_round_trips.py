"""Round trips of revision 2026-07-28: held for a while, then the client is sent round."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.clock import ManualClock
from tests.harness.hold_room import MODERN, Room, held, modern, room, text_of
from tests.harness.mcp_server import Peer, Received, result
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State, VoteValue
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.mcp.sse import data_of

PATIENT: dict[str, Any] = {
    "approval": {"default": {"adapter": "page", "timeout": "20m", "valid_for": "5m"}}
}


def call(id: int = 1, **more: Any) -> bytes:
    return modern("tools/call", id, name="delete_user", arguments={"id": 7}, **more)


async def sent_round(gate: Room, body: bytes) -> str:
    """The state with which a held call is sent round."""
    async with held(gate.port, body, MODERN) as stream:
        await gate.asked()
        for seconds in (15, 15, 15, 4):
            await gate.pass_by(seconds)
            assert gate.watch.active == 1
        await gate.pass_by(1.5)
        message = await stream.message()
        await stream.ended()
    assert message["id"] == json.loads(body)["id"]
    assert message["result"].keys() == {"resultType", "requestState"}
    assert message["result"]["resultType"] == "input_required"
    return str(message["result"]["requestState"])


def test_a_call_is_sent_round_after_50_s_and_its_next_leg_gets_the_decision(
    tmp_path: Path,
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            state = await sent_round(gate, call())
            assert state.startswith("tg1.")
            state = await sent_round(gate, call(2, requestState=state))
            async with held(gate.port, call(3, requestState=state), MODERN) as stream:
                await gate.approve()
                message = await stream.message()
                assert (message["id"], text_of(message)) == (3, "did delete_user")
            (sent,) = gate.server.received
            assert sent.body == call(1)
            assert len(gate.page.asked) == 1

    test()


def test_the_tenth_round_ends_in_words_and_the_same_call_joins(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            more: dict[str, Any] = {}
            for number in range(1, 10):
                more = {"requestState": await sent_round(gate, call(number, **more))}
            async with held(gate.port, call(10, **more), MODERN) as stream:
                for seconds in (15, 15, 15, 6):
                    await gate.pass_by(seconds)
                message = await stream.message()
                said = text_of(message)
                assert message["result"]["resultType"] == "complete"
                assert message["result"]["isError"] is True
                assert "still pending" in said
                assert "UTC" in said
                assert "joins it" in said
            async with held(gate.port, call(11), MODERN) as stream:
                await gate.approve()
                assert text_of(await stream.message()) == "did delete_user"
            assert len(gate.page.asked) == 1

    test()


def test_a_rejection_has_a_result_type(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, call(), MODERN) as stream:
            await gate.say(VoteValue.REJECT, "no")
            assert (await stream.message())["result"]["resultType"] == "complete"

    test()


@pytest.mark.parametrize("how", ["changed", "used", "late", "of another call", "of another caller"])
def test_a_state_that_is_not_good_is_refused(tmp_path: Path, how: str) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            state, lines = await sent_round(gate, call()), [MODERN]
            name = "delete_user"
            match how:
                case "changed":
                    state = state[:-2] + ("AA" if state[-2:] != "AA" else "BB")
                case "used":
                    await sent_round(gate, call(2, requestState=state))
                case "late":
                    await gate.pass_by(3600)
                case "of another call":
                    name = "delete_all"
                case "of another caller":
                    lines.append("Authorization: Bearer other")
            body = modern("tools/call", 9, name=name, arguments={"id": 7}, requestState=state)
            reply = await gate.send(body, *lines)
            assert reply.json["error"]["code"] == -32602
            assert "requestState" in reply.json["error"]["message"]
            assert gate.server.received == []

    test()


def test_a_leg_after_a_restart_finds_its_request(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            state = await sent_round(gate, call())
            await gate.restart()
            async with held(gate.port, call(2, requestState=state), MODERN) as stream:
                (pending,) = gate.page.queue.pending()
                await gate.page.say(pending.id, VoteValue.APPROVE)
                assert text_of(await stream.message()) == "did delete_user"

    test()


def test_a_leg_that_comes_after_the_end_hears_how_it_ended(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            state = await sent_round(gate, call())
            await gate.pass_by(1200)
            async with held(gate.port, call(2, requestState=state), MODERN) as stream:
                assert "no approver answered" in text_of(await stream.message())
            assert len(gate.page.asked) == 1

    test()


def test_a_client_is_sent_round_while_its_server_is_at_work_and_then_gets_the_result(
    tmp_path: Path,
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}}

    async def script(request: Received, peer: Peer) -> None:
        await peer.events()
        arrived.set()
        await go_on.wait()
        await peer.event(note)
        await peer.event(note)
        await done.wait()
        await peer.event(result(request.message))
        await peer.end()

    done = asyncio.Event()

    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            gate.server.script = script
            async with held(gate.port, call(), MODERN) as stream:
                await gate.approve()
                await arrived.wait()
                await gate.pass_by(51)
                go_on.set()
                assert await stream.message() == note
                message = await stream.message()
                while message == note:
                    message = await stream.message()
                assert message["result"]["resultType"] == "input_required"
                state = message["result"]["requestState"]
            async with held(gate.port, call(2, requestState=state), MODERN) as stream:
                done.set()
                message = await stream.message()
                assert (message["id"], text_of(message)) == (2, "did delete_user")
                assert "_meta" not in message["result"], "it is its own call's result"
            assert len(gate.server.received) == 1

    test()


def test_a_state_of_ours_never_reaches_a_server_that_gets_the_call_by_new_rules(
    tmp_path: Path,
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            state = await sent_round(gate, call())
            gate.reload(governance={"rules": []})
            async with held(gate.port, call(2, requestState=state), MODERN) as stream:
                assert text_of(await stream.message()) == "did delete_user"
            (sent,) = gate.server.received
            assert "requestState" not in sent.message["params"]

    test()


def test_other_requests_that_are_held_stay_on_their_streams(tmp_path: Path) -> None:
    body = modern(
        "completion/complete", ref={"type": "ref/prompt", "name": "delete_prompt"},
        argument={"name": "a", "value": "b"},
    )  # fmt: skip

    @run
    async def test() -> None:
        async with (
            room(tmp_path, ManualClock(), **PATIENT) as gate,
            held(gate.port, body, MODERN) as stream,
        ):
            await gate.asked()
            for _ in range(10):
                await gate.pass_by(15.1)
                await stream.comment()
            await gate.approve()
            assert (await stream.message())["result"] == {}

    test()


def test_a_subscription_starts_when_all_of_it_is_approved_and_ends_with_its_client(
    tmp_path: Path,
) -> None:
    uris = ["note://open", "delete_a://x", "delete_b://x"]
    body = modern("subscriptions/listen", 5, notifications={"resourceSubscriptions": uris})
    meta = {"io.modelcontextprotocol/subscriptionId": 5}
    note = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"_meta": meta}}

    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(note)
        await peer.gone.wait()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, body, MODERN) as stream:
                await gate.approve()
                assert gate.only.call.name == "delete_a://x and 1 more"
                assert await stream.message() == note
                assert (await gate.ends_as(State.DONE)).delivered
            await within(gate.server.connections[0].gone.is_set, "the end at the server")

    test()


def listening(*uris: str) -> bytes:
    return modern("subscriptions/listen", notifications={"resourceSubscriptions": list(uris)})


def test_a_denied_part_wins_over_one_that_is_held(tmp_path: Path) -> None:
    rules = [{"match": "delete_*", "action": "approve"}, {"match": "no_*", "action": "deny"}]

    @run
    async def test() -> None:
        async with room(tmp_path, governance={"rules": rules}) as gate:
            reply = await gate.send(listening("delete_a://x", "no_b://x"), MODERN)
            assert reply.json["error"]["code"] == 40301
            assert "`no_*`" in reply.json["error"]["message"]
            assert gate.humans_asked() == []

    test()


def test_parts_for_other_approvers_are_to_be_asked_for_alone(tmp_path: Path) -> None:
    workflow = {"adapter": "page", "timeout": "60s"}
    rules = [
        {"match": "delete_a*", "action": "approve", "approval": "one"},
        {"match": "delete_b*", "action": "approve", "approval": "other"},
    ]

    @run
    async def test() -> None:
        approval = {"one": workflow, "other": workflow}
        async with room(tmp_path, governance={"rules": rules}, approval=approval) as gate:
            reply = await gate.send(listening("delete_a://x", "delete_b://x"), MODERN)
            assert "ask for each part alone" in reply.json["error"]["message"]
            assert gate.humans_asked() == []

    test()


def test_a_client_that_is_sent_round_has_not_left(tmp_path: Path) -> None:
    flow = {**PATIENT["approval"]["default"], "on_disconnect": "cancel"}

    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), approval={"default": flow}) as gate:
            state = await sent_round(gate, call())
            async with held(gate.port, call(2, requestState=state), MODERN) as stream:
                assert not gate.only.caller_left
                await gate.approve()
                assert text_of(await stream.message()) == "did delete_user"
            assert not [line for line in await gate.audit() if line.get("step") == "caller left"]

    test()


def test_who_waited_its_time_gets_what_has_come_meanwhile(tmp_path: Path) -> None:
    lines = (
        ("host", "localhost"), ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "2026-07-28"),
    )  # fmt: skip
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}}

    async def script(request: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(note)
        await peer.event(result(request.message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock(), **PATIENT) as gate:
            gate.server.script = script
            handling = gate.gateway.handle(HttpRequest("POST", "/", lines, call()))
            assert not isinstance(handling, HttpReply)
            reply = await handling
            assert not isinstance(reply.body, bytes)
            await anext(reply.body)
            await gate.approve()
            while b"notifications/message" not in await anext(reply.body):
                pass
            await gate.ends_as(State.DONE)
            await gate.pass_by(60)
            message = json.loads(data_of(await anext(reply.body)) or b"")
            assert text_of(message) == "did delete_user"
            reply.close()

    test()
