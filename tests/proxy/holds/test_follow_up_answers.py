"""A server asks back after the approval (2026-07-28), and its client answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import MODERN, held, modern, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps
from tests.harness.wait import run
from thoughtgate_proxy.mcp import approval_texts


def call(id: int = 1, **more: Any) -> bytes:
    return modern("tools/call", id, name="delete_user", arguments={"id": 7}, **more)


ASKING = {
    "resultType": "input_required",
    "requestState": "the server's own",
    "inputRequests": {"who": {"method": "elicitation/create", "params": {}}},
}


async def asking(request: Received, peer: Peer) -> None:
    """A server that asks back twice."""
    message = request.message
    rounds = {None: "one", "one": "two"}
    state = message["params"].get("requestState")
    value: dict[str, Any] = {"resultType": "complete", "content": [{"type": "text", "text": "did"}]}
    if state in rounds:
        value = ASKING | {"requestState": rounds[state]}
    await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "delete_user", "arguments": {"id": 7}}),
        ("prompts/get", {"name": "delete_prompt"}),
        ("resources/read", {"uri": "delete_it://now"}),
    ],
)
def test_humans_are_not_asked_each_time_that_the_server_asks_back(
    tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = asking
            given: dict[str, Any] = {}
            for number in (1, 2, 3):
                body = modern(method, number, **params, **given)
                async with held(gate.port, body, MODERN) as stream:
                    if number == 1:
                        await gate.approve()
                    result = (await stream.message())["result"]
                if number < 3:
                    assert result["inputRequests"] == ASKING["inputRequests"]
                    assert result["requestState"].startswith("tg1.")
                    answers = {"who": {"action": "accept", "content": {"n": number}}}
                    given = {"requestState": result["requestState"], "inputResponses": answers}
            assert result["resultType"] == "complete"
            seen = [r.message["params"] for r in gate.server.received]
            assert [p.get("requestState") for p in seen] == [None, "one", "two"]
            assert [p.get("inputResponses", {}).get("who", {}).get("content") for p in seen] == [
                None, {"n": 1}, {"n": 2},
            ]  # fmt: skip
            assert len(gate.page.asked) == 1
            lines = [line for line in await gate.audit() if line.get("step") == "answers"]
            told = [json.loads(line["input_responses"])["who"]["content"] for line in lines]
            assert told == [{"n": 1}, {"n": 2}]

    test()


def test_a_leg_may_not_bring_another_call(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = asking
            async with held(gate.port, call(), MODERN) as stream:
                await gate.approve()
                state = (await stream.message())["result"]["requestState"]
            body = modern(
                "tools/call", 2, name="delete_user", arguments={"id": 8}, requestState=state,
                inputResponses={},
            )  # fmt: skip
            assert "requestState" in (await gate.send(body, MODERN)).json["error"]["message"]
            assert len(gate.server.received) == 1

    test()


def test_a_leg_is_judged_anew(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = asking
            async with held(gate.port, call(), MODERN) as stream:
                await gate.approve()
                state = (await stream.message())["result"]["requestState"]
            gate.reload(governance={"rules": [{"match": "delete_*", "action": "deny"}]})
            reply = await gate.send(call(2, requestState=state, inputResponses={}), MODERN)
            assert "denies it" in text_of(reply.json)
            assert len(gate.server.received) == 1

    test()


ANSWERS: dict[str, Any] = {
    "who": {"action": "accept", "content": {"name": "Ann", "card": {"number": 4111}}},
    "card": {"number": 4111},
}
CARD: dict[str, Any] = {
    "approval": {"default": {"adapter": "page", "redact_fields": ["card.number"]}}
}


@pytest.mark.parametrize(
    ("kept", "shown", "hidden"),
    [
        ({}, ["Ann"], ["4111"]),
        ({"audit": {"arguments": "redacted"}}, ["Ann"], ["4111"]),
        ({"audit": {"arguments": "full"}}, ["Ann", "4111"], ["redacted"]),
        ({"audit": {"arguments": "digest"}}, ["input_responses_digest"], ["Ann", "4111"]),
    ],
    ids=["by default", "redacted", "full", "digest"],
)
@pytest.mark.parametrize("rules", ["held", "forwarded"])
def test_answers_are_logged_as_the_audit_says(
    tmp_path: Path, kept: dict[str, Any], shown: list[str], hidden: list[str], rules: str
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, **CARD, **kept) as gate:
            gate.server.script = asking
            async with held(gate.port, call(), MODERN) as stream:
                await gate.approve()
                state = (await stream.message())["result"]["requestState"]
            if rules == "forwarded":  # no workflow decides on it any more
                gate.reload(governance={"rules": []}, **CARD, **kept)
            body = call(2, requestState=state, inputResponses=ANSWERS)
            async with held(gate.port, body, MODERN) as stream:
                await stream.message()
            (line,) = [line for line in await gate.audit() if line.get("step") == "answers"]
            for word in shown:
                assert word in json.dumps(line)
            for word in hidden:
                assert word not in json.dumps(line)
            (_, sent) = gate.server.received
            assert sent.message["params"]["inputResponses"] == ANSWERS, "only the log hides it"

    test()


@pytest.mark.parametrize("half", [False, True], ids=["no head", "half a stream"])
def test_an_answer_that_gets_no_reply_may_have_been_acted_on(tmp_path: Path, half: bool) -> None:
    async def script(request: Received, peer: Peer) -> None:
        if "inputResponses" not in request.message["params"]:
            await asking(request, peer)
            return
        if half:
            await peer.events()
        peer.reset()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            async with held(gate.port, call(), MODERN) as stream:
                await gate.approve()
                state = (await stream.message())["result"]["requestState"]
            leg = call(2, requestState=state, inputResponses={"who": {"action": "accept"}})
            async with held(gate.port, leg, MODERN) as stream:
                error = (await stream.message())["error"]
            assert error["code"] == approval_texts.UNKNOWN_OUTCOME
            assert (
                "whether it acted on it is unknown, and it was not sent again" in error["message"]
            )
            assert len(gate.server.received) == 2

    test()
