"""Who may ask for a task, and which tasks are listed: ours beside the server's own."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness.hold_room import LEGACY, MODERN, held, legacy, modern, room
from tests.harness.mcp_server import FakeMcpServer, Peer, Received, dumps, polite
from tests.harness.task_client import TaskClient
from tests.harness.wait import run

BOTH = pytest.mark.parametrize("old", [False, True], ids=["2026-07-28", "2025-11-25"])


@BOTH
@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel"])
@pytest.mark.parametrize("task", ["tg_nothing", "tg_../x", "other"])
def test_a_task_that_is_not_there_is_an_invalid_parameter(
    tmp_path: Path, old: bool, method: str, task: str
) -> None:
    async def script(request: Received, peer: Peer) -> None:
        error = {"code": -32601, "message": "Method not found"}
        answer = {"jsonrpc": "2.0", "id": request.message["id"], "error": error}
        await peer.reply(dumps(answer), status=200)

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            error = (await TaskClient(gate, old).ask(method, taskId=task))["error"]
            assert error["code"] == (-32601 if task == "other" and not old else -32602)

    test()


def test_another_caller_does_not_see_the_task(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            task = (await TaskClient(gate, False, "Authorization: Bearer a").call())["taskId"]
            other = TaskClient(gate, False, "Authorization: Bearer b")
            assert (await other.ask("tasks/get", taskId=task))["error"]["code"] == -32602

    test()


def test_a_client_that_does_not_declare_tasks_may_not_ask_for_them(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            reply = await gate.send(modern("tasks/get", taskId="tg_x"), MODERN)
            assert reply.status == 400
            assert reply.json["error"]["code"] == -32021
            assert "requiredCapabilities" in reply.json["error"]["data"]

    test()


@pytest.mark.parametrize("has_tasks", [True, False])
def test_our_tasks_stand_before_the_servers(tmp_path: Path, has_tasks: bool) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        if message["method"] != "tasks/list":
            await polite(request, peer)
            return
        answer: dict[str, Any] = {"error": {"code": -32601, "message": "Method not found"}}
        if has_tasks:
            answer = {"result": {"tasks": [{"taskId": "theirs"}], "nextCursor": "more"}}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], **answer}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, True)
            ours = (await client.call())["taskId"]
            result = (await client.ask("tasks/list"))["result"]
            listed = [task["taskId"] for task in result["tasks"]]
            assert listed == ([ours, "theirs"] if has_tasks else [ours])
            assert result.get("nextCursor") == ("more" if has_tasks else None)
            other = TaskClient(gate, True, "Authorization: Bearer other")
            listed = [t["taskId"] for t in (await other.ask("tasks/list"))["result"]["tasks"]]
            assert ours not in listed
            if has_tasks:
                page = await client.ask("tasks/list", cursor="more")
                assert [t["taskId"] for t in page["result"]["tasks"]] == ["theirs"]

    test()


def test_the_servers_own_tasks_pass_untouched(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value = {"taskId": message["params"]["taskId"], "status": "working", "x": 1}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            for old in (False, True):
                told = await TaskClient(gate, old).get("theirs")
                assert told == {"taskId": "theirs", "status": "working", "x": 1}

    test()


@BOTH
def test_a_task_of_one_source_is_none_of_anothers(tmp_path: Path, old: bool) -> None:
    async def script(request: Received, peer: Peer) -> None:
        if request.message["method"] == "tasks/list":
            error = {"code": -32601, "message": "Method not found"}
            await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "error": error}))
        else:
            await polite(request, peer)

    @run
    async def test() -> None:
        async with FakeMcpServer(script) as behind:
            sources = [{"id": id, "url": behind.url} for id in ("one", "other")]
            async with room(tmp_path, sources=sources) as gate:
                mine, other = (TaskClient(gate, old, target=f"/{s['id']}") for s in sources)
                task = (await mine.call())["taskId"]
                await gate.approve()
                methods = ("tasks/get", "tasks/cancel", "tasks/result" if old else "tasks/update")
                for method in methods:
                    error = (await other.ask(method, taskId=task))["error"]
                    assert error["message"] == f"there is no task `{task}`"
                if old:
                    listed = [await c.ask("tasks/list") for c in (mine, other)]
                    ids = [[t["taskId"] for t in one["result"]["tasks"]] for one in listed]
                    assert ids == [[task], []]
                assert behind.calls() == [], "nor is the approved call sent for such a request"
                assert "result" in await mine.comes_to(task, "completed") or old
                assert behind.calls() == ["delete_user"]

    test()


def test_what_waits_and_is_no_call_of_a_tool_is_not_listed_as_a_task(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        value: dict[str, Any] = {"tasks": []}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": value}))

    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, legacy("prompts/get", 9, name="delete_prompt"), LEGACY),
        ):
            gate.server.script = script
            await gate.asked()
            assert (await TaskClient(gate, True).ask("tasks/list"))["result"]["tasks"] == []

    test()
