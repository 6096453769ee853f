"""A client takes a held call back, or just goes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import LEGACY, MODERN, Room, held, legacy, modern, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps, result
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State

CALL = legacy("tools/call", name="delete_user", arguments={"id": 7})
CANCELLING: dict[str, Any] = {"approval": {"default": {
    "adapter": "page", "timeout": "60s", "valid_for": "30s", "on_disconnect": "cancel",
}}}  # fmt: skip


def cancelled(id: Any = 1) -> bytes:
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    return dumps(note)


async def left(gate: Room) -> None:
    """Wait until the humans see that the caller has left."""
    await within(lambda: gate.page.queue.pending()[0].caller_left, "the mark")


def test_a_cancelled_call_ends_without_an_answer_and_no_server_hears_of_it(
    tmp_path: Path,
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.asked()
            assert (await gate.send(cancelled(), LEGACY)).status == 202
            await stream.ended()
            await left(gate)
            assert gate.server.received == []
            assert gate.page.queue.pending()[0].state is State.PENDING

    test()


def test_with_on_disconnect_cancel_it_is_withdrawn(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, **CANCELLING) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.asked()
            await gate.send(cancelled(), LEGACY)
            await stream.ended()
            await gate.ends_as(State.CANCELLED)

    test()


@pytest.mark.parametrize(
    ("lines", "id"),
    [
        ((), "1"),
        ((), True),
        ((), 2),
        (("Mcp-Session-Id: other",), 1),
        (("Authorization: Bearer other",), 1),
    ],
    ids=["a text", "no id", "another id", "another session", "another caller"],
)
def test_a_cancel_of_something_else_goes_to_the_server(
    tmp_path: Path, lines: tuple[str, ...], id: Any
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, CALL, LEGACY) as stream:
            await gate.asked()
            assert (await gate.send(cancelled(id), LEGACY, *lines)).status == 202
            (passed,) = gate.server.received
            assert passed.body == cancelled(id)
            await gate.approve()
            assert text_of(await stream.message()) == "did delete_user"

    test()


def test_a_cancel_that_could_mean_two_calls_ends_neither(tmp_path: Path) -> None:
    other = legacy("tools/call", name="delete_user", arguments={"id": 8})

    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, CALL, LEGACY),
            held(gate.port, other, LEGACY),
        ):
            await gate.asked(2)
            await gate.send(cancelled(), LEGACY)
            assert len(gate.server.received) == 1
            assert not any(a.caller_left for a in gate.page.queue.pending())

    test()


def test_a_session_tells_calls_of_the_same_id_apart(tmp_path: Path) -> None:
    other = legacy("tools/call", name="delete_user", arguments={"id": 8})

    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, CALL, LEGACY, "Mcp-Session-Id: a") as first,
            held(gate.port, other, LEGACY, "Mcp-Session-Id: b"),
        ):
            await gate.asked(2)
            await gate.send(cancelled(), LEGACY, "Mcp-Session-Id: a")
            await first.ended()
            assert gate.server.received == []

    test()


def test_a_cancel_of_a_call_on_its_way_reaches_the_server_under_its_id(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        if request.message["method"] == "notifications/cancelled":
            await peer.reply(status=202)
            return
        arrived.set()
        await peer.events()
        await within(lambda: len(gate_of[0].server.received) == 2, "the cancel")
        await peer.event(result(request.message))
        await peer.end()

    gate_of: list[Room] = []

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate_of.append(gate)
            gate.server.script = script
            async with held(gate.port, CALL, LEGACY):
                await gate.asked()
            await left(gate)
            await gate.approve()
            again = legacy("tools/call", "x", name="delete_user", arguments={"id": 7})
            async with held(gate.port, again, LEGACY) as stream:
                await arrived.wait()
                await gate.send(cancelled("x"), LEGACY)
                assert gate.server.received[1].message["params"]["requestId"] == 1
                await stream.message()

    test()


def test_a_cancel_that_comes_after_the_answer_goes_to_the_server(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            async with held(gate.port, CALL, LEGACY) as stream:
                await gate.approve()
                await stream.message()
                await stream.ended()
            assert (await gate.send(cancelled(), LEGACY)).status == 202
            assert [r.message["method"] for r in gate.server.received] == [
                "tools/call", "notifications/cancelled",
            ]  # fmt: skip

    test()


@pytest.mark.parametrize("revision", ["before", "2026-07-28"])
def test_a_disconnect_cancels_in_2026_07_28_alone(tmp_path: Path, revision: str) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, **CANCELLING) as gate:
            old = revision == "before"
            body = CALL if old else modern("tools/call", name="delete_user", arguments={})
            async with held(gate.port, body, LEGACY if old else MODERN):
                await gate.asked()
            await within(lambda: gate.watch.active == 0, "the end of the request")
            if not old:
                await gate.ends_as(State.CANCELLED)
                return
            await gate.approve()
            async with held(gate.port, CALL, LEGACY) as stream:
                assert text_of(await stream.message()) == "did delete_user"

    test()


def test_a_disconnect_in_2026_07_28_leaves_the_request_open_for_the_same_call(
    tmp_path: Path,
) -> None:
    body = modern("tools/call", name="delete_user", arguments={})

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            async with held(gate.port, body, MODERN):
                await gate.asked()
            await left(gate)
            await gate.approve()
            assert gate.server.received == []
            async with held(gate.port, body, MODERN) as stream:
                assert text_of(await stream.message()) == "did delete_user"
            assert len(gate.page.asked) == 1

    test()


def test_a_subscription_that_is_taken_back_ends_at_its_server_too(tmp_path: Path) -> None:
    body = modern(
        "subscriptions/listen", 5, notifications={"resourceSubscriptions": ["delete_a://x"]}
    )
    note = {"jsonrpc": "2.0", "method": "notifications/x", "params": {}}

    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(note)
        await peer.gone.wait()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate, held(gate.port, body, MODERN) as stream:
            gate.server.script = script
            await gate.approve()
            assert await stream.message() == note
            assert (await gate.send(cancelled(5), MODERN)).status == 202
            await stream.ended()
            await within(gate.server.connections[0].gone.is_set, "the end at the server")

    test()
