"""What the server of a task asks back, and tasks that the server makes of the call itself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.approval_service import WORKFLOW
from tests.harness.hold_room import LEGACY, held, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps, result
from tests.harness.task_client import RELATED, TaskClient
from tests.harness.wait import run, within

BOTH = pytest.mark.parametrize("old", [False, True], ids=["2026-07-28", "2025-11-25"])


def test_what_the_server_asks_back_is_asked_through_the_task(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value: dict[str, Any] = {
            "resultType": "input_required",
            "requestState": "s",
            "inputRequests": {"who": {"method": "elicitation/create", "params": {}}},
        }
        if "inputResponses" in message["params"]:
            assert message["params"]["requestState"] == "s"
            value = {"resultType": "complete", "content": [{"type": "text", "text": "thanks"}]}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            told = await client.comes_to(task, "input_required")
            assert told["inputRequests"]["who"]["method"] == "elicitation/create"
            assert "result" not in told
            ack = await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            assert ack["result"] == {"resultType": "complete"}
            told = await client.comes_to(task, "completed")
            assert told["result"]["content"][0]["text"] == "thanks"
            assert [line for line in await gate.audit() if line.get("step") == "answers"]
            # A server must refuse a call whose headers are those of the `tasks/update`.
            names = [(r.header("mcp-method"), r.header("mcp-name")) for r in gate.server.received]
            assert names == [("tools/call", "delete_user")] * 2

    test()


def test_a_task_that_the_server_makes_of_the_call_is_seen_through_ours(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value: dict[str, Any] = {"resultType": "task", "taskId": "theirs", "status": "working"}
        if message["method"] == "tasks/get":
            assert message["params"]["taskId"] == request.header("mcp-name") == "theirs"
            done = {"content": [{"type": "text", "text": "slowly done"}]}
            value = {**value, "resultType": "complete", "status": "completed", "result": done}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            told = await client.comes_to(task, "completed")
            assert told["taskId"] == task
            assert told["result"]["content"][0]["text"] == "slowly done"

    test()


def test_what_the_server_asks_in_mid_call_waits_for_tasks_result(tmp_path: Path) -> None:
    asked = {"jsonrpc": "2.0", "id": "s-1", "method": "elicitation/create", "params": {"m": 1}}
    answered = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        if "method" not in request.message:
            await peer.reply(status=202)
            answered.set()
            return
        await peer.events()
        await peer.event(asked)
        await answered.wait()
        await peer.event(result(request.message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, True)
            task = (await client.call())["taskId"]
            await gate.approve()
            polling = asyncio.create_task(client.get(task))
            await within(lambda: gate.server.received, "the call at the server")
            told = await polling
            assert told["status"] == "input_required"
            async with held(gate.port, client.body("tasks/result", taskId=task), LEGACY) as stream:
                message = await stream.message()
                assert message["params"] == {"m": 1, "_meta": {RELATED: {"taskId": task}}}
                await gate.send(dumps({"jsonrpc": "2.0", "id": "s-1", "result": {}}), LEGACY)
                assert text_of(await stream.message()) == "did delete_user"

    test()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"governance": {"rules": [{"match": "delete_*", "action": "deny"}]}}, "denies it"),
        ({"governance": {"freeze": True}}, "frozen"),
        (
            {"approval": {"default": {**WORKFLOW, "approvers": ["ada", "bob"], "required": 2}}},
            "requires 2 approvers",
        ),
    ],
    ids=["rule", "freeze", "approvers"],
)
def test_an_answer_through_the_task_is_judged_anew(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    async def script(request: Received, peer: Peer) -> None:
        value = {"resultType": "input_required", "requestState": "s", "inputRequests": {"who": {}}}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "input_required")
            gate.reload(**changed)
            await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            told = await client.comes_to(task, "completed")
            assert told["result"]["isError"] is True
            assert words in told["result"]["content"][0]["text"]
            assert len(gate.server.received) == 1, "the answer must not reach the server"
            assert not [line for line in await gate.audit() if line.get("step") == "answers"]

    test()


def test_what_the_server_asks_back_is_answered_once(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value: dict[str, Any] = {"resultType": "input_required", "inputRequests": {"who": {}}}
        if "inputResponses" in message["params"]:
            await go_on.wait()
            value = {"resultType": "complete", "content": []}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "input_required")
            for _ in range(2):
                await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
                assert (await client.get(task))["status"] == "working"
            go_on.set()
            await client.comes_to(task, "completed")
            await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            assert (await client.get(task))["status"] == "completed"
            assert len(gate.server.received) == 2, "the call and one answer"

    test()


def test_a_server_may_say_much_before_it_answers_a_task_that_nobody_listens_to(
    tmp_path: Path,
) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}}

    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        if "inputResponses" not in message["params"]:
            value = {"resultType": "input_required", "inputRequests": {"who": {}}}
            await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))
            return
        await peer.events()
        for _ in range(200):
            await peer.event(note)
        await peer.event(result(message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "input_required")
            await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            await client.comes_to(task, "completed")

    test()


def test_a_task_of_2025_gets_a_question_of_2026_as_the_server_wrote_it(tmp_path: Path) -> None:
    value = {"resultType": "input_required", "requestState": "s", "inputRequests": {"who": {}}}

    async def script(request: Received, peer: Peer) -> None:
        await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, True)
            task = (await client.call())["taskId"]
            await gate.approve()
            async with held(gate.port, client.body("tasks/result", taskId=task), LEGACY) as stream:
                message = await stream.message()
                # Whoever polls a task brings back no state: one of ours would never be used up.
                assert message["result"]["requestState"] == "s"

    test()
