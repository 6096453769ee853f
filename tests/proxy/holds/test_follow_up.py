"""A later leg of an approved call goes on by its approval, as far as that still counts."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.harness.approval_service import WORKFLOW
from tests.harness.clock import ManualClock
from tests.harness.hold_room import MODERN, Room, held, modern, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps
from tests.harness.wait import run
from thoughtgate_proxy.core.approval import KEPT_SECONDS

QUESTION = {
    "resultType": "input_required",
    "inputRequests": {"who": {"method": "elicitation/create", "params": {}}},
}


def call(id: int = 1, **more: Any) -> bytes:
    return modern("tools/call", id, name="delete_user", arguments={"id": 7}, **more)


async def asking(request: Received, peer: Peer, times: int = 1) -> None:
    """A server that asks back, as its own state tells, before it does the call."""
    asked = int(request.message["params"].get("requestState", 0))
    result: dict[str, Any] = QUESTION | {"requestState": str(asked + 1)}
    if asked >= times:
        result = {"resultType": "complete", "content": [{"type": "text", "text": "did"}]}
    await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": result}))


async def asked_back(gate: Room) -> bytes:
    """The call with what answers its server, once that has asked back."""
    gate.server.script = asking
    async with held(gate.port, call(), MODERN) as stream:
        await gate.approve()
        state = (await stream.message())["result"]["requestState"]
    return call(2, requestState=state, inputResponses={"who": {}})


RELOADS: dict[str, dict[str, Any]] = {
    "requires 2 approvers": {
        "approval": {"default": {**WORKFLOW, "approvers": ["ada", "bob"], "required": 2}}
    },
    "decides on it no more": {
        "approval": {"default": WORKFLOW, "other": WORKFLOW},
        "governance": {"rules": [{"match": "*", "action": "approve", "approval": "other"}]},
    },
    "frozen": {"governance": {"freeze": True}},
}


@pytest.mark.parametrize("reason", RELOADS)
def test_a_leg_does_not_go_on_after_a_reload_that_asks_others(tmp_path: Path, reason: str) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            body = await asked_back(gate)
            gate.reload(**RELOADS[reason])
            reply = await gate.send(body, MODERN)
            assert reason in text_of(reply.json)
            assert reply.json["id"] == 2
            assert len(gate.server.received) == 1
            assert not [line for line in await gate.audit() if line.get("step") == "answers"]

    test()


def test_a_leg_needs_no_approval_where_none_is_needed_any_more(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            body = await asked_back(gate)
            gate.reload(governance={"rules": []})
            async with held(gate.port, body, MODERN) as stream:
                assert text_of(await stream.message()) == "did"
            sent = json.loads(gate.server.received[-1].body)["params"]
            assert sent["requestState"] == "1"

    test()


def test_a_leg_whose_approval_is_forgotten_asks_nobody_and_goes_nowhere(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock()) as gate:
            gate.server.script = partial(asking, times=2)
            async with held(gate.port, call(), MODERN) as stream:
                await gate.approve()
                state = (await stream.message())["result"]["requestState"]
            await gate.pass_by(KEPT_SECONDS / 2)
            answer: dict[str, Any] = {"inputResponses": {"who": {}}}
            async with held(gate.port, call(2, requestState=state, **answer), MODERN) as stream:
                state = (await stream.message())["result"]["requestState"]
            await gate.pass_by(KEPT_SECONDS / 2 + 1)
            reply = await gate.send(call(3, requestState=state, **answer), MODERN)
            assert "not known any more" in reply.json["error"]["message"]
            assert len(gate.server.received) == 2
            assert len(gate.page.asked) == 1

    test()
